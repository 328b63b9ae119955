#include "support/sparse_generate.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "support/fp8.h"
#include "support/parallel.h"
#include "support/random.h"

namespace flashmla::support {

namespace {

// What a number is drawn for: the first part of its key.
enum Stream : int { queries, cache, lists, sinks, common_row };

TensorView cache_view(const SparseCase& c, std::int64_t num_pages, std::int64_t page_size,
                      const Device& device) {
  const std::int64_t token = token_elements(c.format, c.qk_dim);
  const std::int64_t row = token + (is_plain(c.format) ? c.cache_padding : 0);
  const std::int64_t page = page_size * row + c.cache_padding;
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

ScaleRule rule_of(const SparseCase& c) {
  if (!c.other_scales)
    return ScaleRule::power_of_two;
  return c.format == KvFormat::v32 ? ScaleRule::exact : ScaleRule::power_of_two_floor;
}

}  // namespace

SparseTensors::SparseTensors(const SparseCase& c, Memory& memory)
    : sparse_case(c),
      q(make_tensor(strided_view(DType::bf16, {c.batch, c.query_tokens, c.query_heads, c.qk_dim},
                                 c.q_padding, false, memory.device()),
                    memory)),
      main(make_cache(c, c.num_pages, c.page_size, c.topk, memory)),
      extra(make_cache(c, c.extra_pages, c.extra_page_size, c.extra_topk, memory)),
      attn_sink(make_tensor({nullptr, DType::fp32, {c.query_heads}, memory.device()}, memory)),
      out(make_tensor(strided_view(DType::bf16, {c.batch, c.query_tokens, c.query_heads, c.v_dim},
                                   c.out_padding, false, memory.device()),
                      memory)),
      lse(make_tensor(statistics_view(c, memory.device()), memory)),
      max_logits(make_tensor(statistics_view(c, memory.device()), memory)),
      sink_values(static_cast<std::size_t>(c.query_heads),
                  -std::numeric_limits<float>::infinity()) {
  fill_queries();
  fill_cache(main, 0);
  fill_lists(main, 0, c.topk_length);
  if (c.extra_topk > 0) {
    fill_cache(extra, 1);
    fill_lists(extra, 1, c.extra_topk_length);
  }
  if (c.sink)
    sink_values = draw_sinks(c.query_heads, key_of(c.seed, int{sinks}));
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

std::vector<std::uint16_t> SparseTensors::attended(std::int64_t request, std::int64_t query_token) {
  std::vector<std::uint16_t> numbers;
  append_attended(main, sparse_case.topk_length, request, query_token, numbers);
  if (sparse_case.extra_topk > 0)
    append_attended(extra, sparse_case.extra_topk_length, request, query_token, numbers);
  return numbers;
}

void SparseTensors::append_attended(IndexedCache& part, bool with_lengths, std::int64_t request,
                                    std::int64_t query_token, std::vector<std::uint16_t>& numbers) {
  const SparseCase& c = sparse_case;
  const std::int32_t* slots = part.indices.buffer.image_as<std::int32_t>().data() +
                              offset_of(part.indices.view, {request, query_token, 0});
  std::int64_t entries = part.topk;
  if (with_lengths)
    entries = std::clamp<std::int64_t>(
        part.lengths.buffer.image_as<std::int32_t>()[c.prefill() ? query_token : request], 0,
        part.topk);
  for (std::int64_t i = 0; i < entries; ++i) {
    const std::int64_t slot = slots[i];
    if (slot < 0 || slot >= part.capacity())
      continue;
    const std::int64_t in_page = slot % part.page_size;
    const std::int64_t page = offset_of(part.cache.view, {slot / part.page_size, 0});
    if (is_plain(c.format)) {
      const auto* row = part.cache.buffer.image_as<std::uint16_t>().data() + page +
                        in_page * part.cache.view.strides[1];
      numbers.insert(numbers.end(), row, row + c.qk_dim);
    } else {
      const auto row = dequantise_token(
          fetch_token(c.format, in_page, part.page_size, part.cache.buffer.image().data() + page));
      numbers.insert(numbers.end(), row.begin(), row.end());
    }
  }
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

void SparseTensors::fill_cache(IndexedCache& part, int which) {
  const SparseCase& c = sparse_case;
  if (is_plain(c.format))
    poison(DType::bf16, part.cache.buffer.image_as<std::uint16_t>());
  Random random(key_of(c.seed, int{cache}, which));
  for (std::int64_t slot = 0; slot < part.capacity(); ++slot)
    if (!random.chance(c.poisoned_share))
      part.live.push_back(static_cast<std::int32_t>(slot));
  parallel_for(static_cast<std::int64_t>(part.live.size()), [&](std::int64_t i) {
    const std::int64_t slot = part.live[i];
    const std::int64_t in_page = slot % part.page_size;
    const std::int64_t page = offset_of(part.cache.view, {slot / part.page_size, 0});
    std::vector<std::uint16_t> row(static_cast<std::size_t>(c.qk_dim));
    write_row(DType::bf16, key_of(c.seed, int{cache}, which, slot), row,
              {c.common, key_of(c.seed, int{common_row})});
    if (is_plain(c.format))
      std::ranges::copy(row, part.cache.buffer.image_as<std::uint16_t>().data() + page +
                                 in_page * part.cache.view.strides[1]);
    else
      store_token(c.format, quantise_token(c.format, row, rule_of(c)), in_page, part.page_size,
                  part.cache.buffer.image().data() + page);
  });
}

void SparseTensors::fill_lists(IndexedCache& part, int which, bool with_lengths) {
  const SparseCase& c = sparse_case;
  const std::span entries = part.indices.buffer.image_as<std::int32_t>();
  const std::span lengths = part.lengths.buffer.image_as<std::int32_t>();
  Random random(key_of(c.seed, int{lists}, which));
  constexpr std::int32_t least = std::numeric_limits<std::int32_t>::min();
  constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();
  const auto capacity = static_cast<std::int32_t>(part.capacity());
  const auto no_slot = [&] {
    return random.pick({-1, -1, least, most, capacity, capacity + 7, -capacity - 1});
  };
  for (std::int32_t& length : lengths) {
    length = static_cast<std::int32_t>(random.between(1, part.topk));
    if (random.chance(0.1))
      length = random.pick({most, static_cast<std::int32_t>(part.topk) + 1});
    if (c.empty_lists && random.chance(0.3))
      length = random.pick({0, -1, least});
  }
  for (std::int64_t r = 0; r < c.batch; ++r)
    for (std::int64_t t = 0; t < c.query_tokens; ++t) {
      std::int32_t* list = entries.data() + offset_of(part.indices.view, {r, t, 0});
      const std::int64_t counted =
          with_lengths ? std::clamp<std::int64_t>(lengths[c.prefill() ? t : r], 0, part.topk)
                       : part.topk;
      const bool empty = part.live.empty() || (c.empty_lists && random.chance(0.2));
      for (std::int64_t i = 0; i < part.topk; ++i) {
        const bool live = i < counted && !empty && !random.chance(c.invalid_share);
        const auto any =
            static_cast<std::int32_t>(random.between(0, std::max<std::int64_t>(1, capacity) - 1));
        list[i] = live ? random.pick(std::span<const std::int32_t>(part.live)) : no_slot();
        if (i >= counted && random.chance(0.7))
          list[i] = any;
      }
    }
}

}  // namespace flashmla::support
