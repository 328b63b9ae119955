#include "support/sparse_generate.h"

#include <algorithm>
#include <limits>

#include "support/cached_row.h"
#include "support/fp8.h"
#include "support/parallel.h"
#include "support/random.h"

namespace flashmla::support {

namespace {

// What a number is drawn for: the first part of its key.
enum Stream : int { queries, cache, sinks, nans };

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// What the copy engines of a GPU demand of rows of q and of pages.
constexpr std::int64_t gpu_bytes = 16;

TensorView cache_view(const SparseCase& c, std::int64_t num_pages, std::int64_t page_size,
                      const Device& device) {
  const std::int64_t token = token_elements(c.format, c.qk_dim);
  const std::int64_t row = token + (is_plain(c.format) ? c.cache_padding : 0);
  std::int64_t page = page_size * row + c.cache_padding + c.page_gap;
  if (c.aligned)
    page = round_up(page, gpu_bytes / static_cast<std::int64_t>(size_of(cache_dtype(c.format))));
  return {nullptr,
          cache_dtype(c.format),
          {num_pages, page_size, 1, token},
          {page, row, row, 1},
          device};
}

IndexedCache make_cache(const SparseCase& c, std::int64_t num_pages, std::int64_t page_size,
                        std::int64_t topk, Memory& memory) {
  const std::int64_t row = topk + c.index_padding;
  const std::int64_t lengths = c.prefill() ? c.query_tokens : c.batch;
  return {.page_size = page_size,
          .num_pages = num_pages,
          .topk = topk,
          .cache = make_tensor(cache_view(c, num_pages, page_size, memory.device()), memory),
          .indices = make_tensor({nullptr,
                                  DType::i32,
                                  {c.batch, c.query_tokens, topk},
                                  {c.query_tokens * row + c.index_padding, row, 1},
                                  memory.device()},
                                 memory),
          .lengths = make_tensor({nullptr, DType::i32, {lengths}, memory.device()}, memory),
          .live = {}};
}

TensorView statistics_view(const SparseCase& c, const Device& device) {
  if (c.prefill())
    return {nullptr, DType::fp32, {c.query_tokens, c.query_heads}, device};
  return {nullptr, DType::fp32, {c.batch, c.query_heads, c.query_tokens}, device};
}

// Without the first dimension, which has one element.
TensorView without_batch(TensorView view) {
  std::copy(view.shape.begin() + 1, view.shape.end(), view.shape.begin());
  std::copy(view.strides.begin() + 1, view.strides.end(), view.strides.begin());
  --view.rank;
  return view;
}

// [s_kv, page 1, 1, d] without the page dimension.
TensorView without_pages(TensorView view) {
  std::copy(view.shape.begin() + 2, view.shape.end(), view.shape.begin() + 1);
  std::copy(view.strides.begin() + 2, view.strides.end(), view.strides.begin() + 1);
  --view.rank;
  return view;
}

TensorView query_view(const SparseCase& c, const Device& device) {
  const std::int64_t padding = c.aligned ? round_up(c.q_padding, gpu_bytes / 2) : c.q_padding;
  return strided_view(DType::bf16, {c.batch, c.query_tokens, c.query_heads, c.qk_dim}, padding,
                      false, device);
}

}  // namespace

SparseTensors::SparseTensors(const SparseCase& c, Memory& memory)
    : sparse_case(c),
      q(make_tensor(query_view(c, memory.device()), memory)),
      main(make_cache(c, c.num_pages, c.page_size, c.topk, memory)),
      extra(make_cache(c, c.extra_pages, c.extra_page_size, c.extra_topk, memory)),
      attn_sink(make_tensor({nullptr, DType::fp32, {c.query_heads}, memory.device()}, memory)),
      out(make_tensor(strided_view(DType::bf16, {c.batch, c.query_tokens, c.query_heads, c.v_dim},
                                   c.out_padding, false, memory.device()),
                      memory)),
      lse(make_tensor(statistics_view(c, memory.device()), memory)),
      max_logits(make_tensor(statistics_view(c, memory.device()), memory)),
      sink_values(static_cast<std::size_t>(c.query_heads), -std::numeric_limits<float>::infinity()),
      contents(static_cast<std::size_t>(c.batch * c.query_tokens), RowContent::nothing) {
  fill_queries();
  fill_part(main, 0, c.topk_length);
  if (c.extra_topk > 0)
    fill_part(extra, 1, c.extra_topk_length);
  if (c.sink)
    sink_values = draw_sinks(c.query_heads, key_of(c.seed, int{sinks}));
  if (c.nan_rows)  // an infinite sink makes 0 of numbers, and nothing is said of what it makes of
                   // NaN
    std::ranges::replace(sink_values, std::numeric_limits<float>::infinity(), 1.0f);
  std::ranges::copy(sink_values, attn_sink.buffer.image_as<float>().begin());
  for (GuardedTensor* tensor :
       {&q, &main.cache, &main.indices, &main.lengths, &extra.cache, &extra.indices, &extra.lengths,
        &attn_sink, &out, &lse, &max_logits})
    tensor->buffer.upload();
}

Inputs SparseTensors::inputs() const {
  const SparseCase& c = sparse_case;
  Inputs inputs;
  inputs.q = q.view;
  inputs.kv_cache = main.cache.view;
  inputs.indices = main.indices.view;
  if (c.topk_length)
    inputs.topk_length = main.lengths.view;
  if (c.extra_topk > 0) {
    inputs.extra_kv_cache = extra.cache.view;
    inputs.extra_indices = extra.indices.view;
    if (c.extra_topk_length)
      inputs.extra_topk_length = extra.lengths.view;
  }
  if (c.sink)
    inputs.attn_sink = attn_sink.view;
  inputs.softmax_scale = c.softmax_scale;
  if (c.prefill()) {
    inputs.q = without_batch(q.view);
    inputs.kv_cache = without_pages(main.cache.view);
    std::swap(inputs.indices.shape[0], inputs.indices.shape[1]);
    std::swap(inputs.indices.strides[0], inputs.indices.strides[1]);
  }
  return inputs;
}

Outputs SparseTensors::outputs() const {
  if (!sparse_case.prefill())
    return {out.view, lse.view, {}};
  return {without_batch(out.view), lse.view,
          sparse_case.max_logits ? max_logits.view : TensorView{}};
}

std::span<const std::uint16_t> SparseTensors::query_row(std::int64_t request,
                                                        std::int64_t query_token,
                                                        std::int64_t head) {
  return {q.buffer.image_as<std::uint16_t>().data() +
              offset_of(q.view, {request, query_token, head, 0}),
          static_cast<std::size_t>(sparse_case.qk_dim)};
}

template <class Visit>
void SparseTensors::for_each_attended(std::int64_t request, std::int64_t query_token, Visit visit) {
  for (const std::int64_t slot : counted_slots(main, sparse_case.topk_length, request, query_token))
    visit(main, slot);
  if (sparse_case.extra_topk > 0)
    for (const std::int64_t slot :
         counted_slots(extra, sparse_case.extra_topk_length, request, query_token))
      visit(extra, slot);
}

namespace {

std::int64_t page_offset(const IndexedCache& part, std::int64_t slot) {
  return offset_of(part.cache.view, {slot / part.page_size, 0});
}

Fp8Token cached_token(IndexedCache& part, KvFormat format, std::int64_t slot) {
  return fetch_token(format, slot % part.page_size, part.page_size,
                     part.cache.buffer.image().data() + page_offset(part, slot));
}

}  // namespace

std::vector<std::uint16_t> SparseTensors::attended(std::int64_t request, std::int64_t query_token) {
  const SparseCase& c = sparse_case;
  std::vector<std::uint16_t> numbers;
  for_each_attended(request, query_token, [&](IndexedCache& part, std::int64_t slot) {
    if (is_plain(c.format)) {
      const auto* row = part.cache.buffer.image_as<std::uint16_t>().data() +
                        page_offset(part, slot) +
                        slot % part.page_size * part.cache.view.strides[1];
      numbers.insert(numbers.end(), row, row + c.qk_dim);
    } else {
      const auto row = dequantise_token(cached_token(part, c.format, slot));
      numbers.insert(numbers.end(), row.begin(), row.end());
    }
  });
  return numbers;
}

std::vector<float> SparseTensors::attended_exactly(std::int64_t request, std::int64_t query_token) {
  std::vector<float> numbers;
  for_each_attended(request, query_token, [&](IndexedCache& part, std::int64_t slot) {
    const auto row = products_of(cached_token(part, sparse_case.format, slot));
    numbers.insert(numbers.end(), row.begin(), row.end());
  });
  return numbers;
}

void SparseTensors::fill_queries() {
  const SparseCase& c = sparse_case;
  parallel_for(c.batch * c.query_tokens, [&](std::int64_t i) {
    for (std::int64_t h = 0; h < c.query_heads; ++h)
      write_row(DType::bf16, key_of(c.seed, int{queries}, i, h),
                {q.buffer.image_as<std::uint16_t>().data() +
                     offset_of(q.view, {i / c.query_tokens, i % c.query_tokens, h, 0}),
                 static_cast<std::size_t>(c.qk_dim)});
  });
}

void SparseTensors::fill_part(IndexedCache& part, int which, bool with_lengths) {
  choose_live(part, which);
  fill_lists(part, which, with_lengths);
  fill_cache(part, which, with_lengths);
}

void SparseTensors::choose_live(IndexedCache& part, int which) {
  const SparseCase& c = sparse_case;
  Random random(key_of(c.seed, int{cache}, which));
  const auto add = [&](std::int64_t slot) { part.live.push_back(static_cast<std::int32_t>(slot)); };
  if (c.live_slots > 0 && part.capacity() > c.live_slots) {
    add(0);
    add(part.capacity() - 1);
    for (std::int64_t i = 2; i < c.live_slots; ++i)
      add(random.between(0, part.capacity() - 1));
    return;
  }
  for (std::int64_t slot = 0; slot < part.capacity(); ++slot)
    if (!random.chance(c.poisoned_share))
      add(slot);
}

// Which slots hold NaN: at least one that counts, and so many that about half of the query tokens
// attend to one, where there are slots enough.
std::vector<bool> SparseTensors::choose_nan(IndexedCache& part, int which, bool with_lengths) {
  const SparseCase& c = sparse_case;
  std::vector<bool> nan(static_cast<std::size_t>(part.capacity()));
  if (!c.nan_rows)
    return nan;
  const double share = 0.7 / static_cast<double>(std::max<std::int64_t>(
                                 2, std::min(part.topk, std::ssize(part.live))));
  Random random(key_of(c.seed, int{nans}, which));
  for (const std::int32_t slot : part.live)
    if (random.chance(share))
      nan[static_cast<std::size_t>(slot)] = true;
  for (std::int64_t i = 0; i < std::ssize(contents); ++i) {
    const auto slots = counted_slots(part, with_lengths, i / c.query_tokens, i % c.query_tokens);
    if (slots.empty())
      continue;
    nan[static_cast<std::size_t>(random.pick(std::span<const std::int32_t>(slots)))] = true;
    break;
  }
  return nan;
}

// The rows that counted entries name get numbers; all others stay poisoned.
void SparseTensors::fill_cache(IndexedCache& part, int which, bool with_lengths) {
  const SparseCase& c = sparse_case;
  if (is_plain(c.format))
    poison(DType::bf16, part.cache.buffer.image_as<std::uint16_t>());
  std::vector<bool> listed(static_cast<std::size_t>(part.capacity()));
  const std::vector<bool> nan = choose_nan(part, which, with_lengths);
  std::vector<std::int64_t> slots;
  for (std::int64_t i = 0; i < std::ssize(contents); ++i)
    for (const std::int32_t slot :
         counted_slots(part, with_lengths, i / c.query_tokens, i % c.query_tokens)) {
      const auto at = static_cast<std::size_t>(slot);
      if (!listed[at])
        slots.push_back(slot);
      listed[at] = true;
      RowContent& content = contents[static_cast<std::size_t>(i)];
      if (nan[at])
        content = RowContent::nan;
      else if (content == RowContent::nothing)
        content = RowContent::numbers;
    }
  parallel_for(std::ssize(slots), [&](std::int64_t i) {
    const std::int64_t slot = slots[static_cast<std::size_t>(i)];
    const auto page =
        static_cast<std::size_t>(offset_of(part.cache.view, {slot / part.page_size, 0})) *
        size_of(part.cache.view.dtype);
    write_cached_row(c, key_of(c.seed, int{cache}, which, slot),
                     nan[static_cast<std::size_t>(slot)],
                     {part.cache.buffer.image().data() + page, slot % part.page_size,
                      part.page_size, part.cache.view.strides[1]});
  });
}

}  // namespace flashmla::support
