#include "support/generate.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "support/parallel.h"
#include "support/random.h"

namespace flashmla::support {

namespace {

// What a number is drawn for: the first part of its key.
enum Stream : int { queries, cache, table, sinks, pages, common_row };

std::int64_t pages_of(std::int64_t tokens, std::int64_t page_size) {
  return (tokens + page_size - 1) / page_size;
}

TensorView padded_view(const DenseCase& c, const Device& device, std::int64_t middle_1,
                       std::int64_t middle_2, std::int64_t outer, std::int64_t inner,
                       std::int64_t padding) {
  return strided_view(c.type, {outer, middle_1, middle_2, inner}, padding,
                      c.permuted && padding > 0, device);
}

std::uint16_t* at(GuardedTensor& tensor, std::initializer_list<std::int64_t> index) {
  return tensor.buffer.image_as<std::uint16_t>().data() + offset_of(tensor.view, index);
}

}  // namespace

PageAssignment assign_pages(const DenseCase& c) {
  Random random(key_of(c.seed, Stream::pages));
  PageAssignment assignment;
  std::int64_t used = 0;
  // Requests share whole pages of the first one, half of what both have.
  const auto shared = [&](std::int64_t r) {
    if (!c.shared_pages || r == 0)
      return std::int64_t{0};
    return std::min(c.lengths[r], c.lengths[0]) / c.page_size / 2;
  };
  for (std::int64_t r = 0; r < c.batch(); ++r)
    used += pages_of(c.lengths[r], c.page_size) - shared(r);
  assignment.num_pages = used + random.between(1, 3);

  std::vector<std::int32_t> order(static_cast<std::size_t>(assignment.num_pages));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size() - 1; i > 0; --i)
    std::swap(order[i], order[random.between(0, static_cast<std::int64_t>(i))]);
  auto free_page = order.begin();
  for (std::int64_t r = 0; r < c.batch(); ++r) {
    std::vector<std::int32_t> own(static_cast<std::size_t>(pages_of(c.lengths[r], c.page_size)));
    for (std::size_t i = 0; i < own.size(); ++i)
      own[i] = static_cast<std::int64_t>(i) < shared(r) ? assignment.pages[0][i] : *free_page++;
    assignment.pages.push_back(std::move(own));
  }
  return assignment;
}

// Only whole pages are shared, so the first request that has a page fills it.
std::vector<PageFill> page_fills(const DenseCase& c, const PageAssignment& assignment) {
  std::vector<PageFill> fills;
  std::vector<char> seen(static_cast<std::size_t>(assignment.num_pages), 0);
  for (std::int64_t r = 0; r < c.batch(); ++r) {
    std::int64_t left = c.lengths[r];
    for (const std::int32_t page : assignment.pages[r]) {
      if (std::exchange(seen[page], 1) == 0)
        fills.push_back({page, std::min(left, c.page_size)});
      left -= c.page_size;
    }
  }
  return fills;
}

DenseTensors::DenseTensors(const DenseCase& c, Memory& memory)
    : dense_case(c),
      q(make_tensor(padded_view(c, memory.device(), c.query_tokens, c.query_heads, c.batch(),
                                c.qk_dim, c.q_padding),
                    memory)),
      kv_cache(make_tensor(padded_view(c, memory.device(), c.page_size, c.kv_heads,
                                       assign_pages(c).num_pages, c.qk_dim, c.cache_padding),
                           memory)),
      block_table(make_tensor({nullptr,
                               DType::i32,
                               {c.batch(), c.max_pages()},
                               {c.max_pages() + c.table_padding, 1},
                               memory.device()},
                              memory)),
      lengths(make_tensor({nullptr, DType::i32, {c.batch()}, memory.device()}, memory)),
      attn_sink(make_tensor({nullptr, DType::fp32, {c.query_heads}, memory.device()}, memory)),
      out(make_tensor(padded_view(c, memory.device(), c.query_tokens, c.query_heads, c.batch(),
                                  c.v_dim, c.out_padding),
                      memory)),
      lse(make_tensor(
          {nullptr, DType::fp32, {c.batch(), c.query_heads, c.query_tokens}, memory.device()},
          memory)),
      sink_values(static_cast<std::size_t>(c.query_heads),
                  -std::numeric_limits<float>::infinity()) {
  fill_queries();
  fill_block_table();
  fill_cache();
  fill_sinks();
  std::ranges::copy(c.lengths, lengths.buffer.image_as<std::int32_t>().begin());
  for (GuardedTensor* tensor : {&q, &kv_cache, &block_table, &lengths, &attn_sink, &out, &lse})
    tensor->buffer.upload();
}

Inputs DenseTensors::inputs() const {
  Inputs inputs;
  inputs.q = q.view;
  inputs.kv_cache = kv_cache.view;
  inputs.block_table = block_table.view;
  if (dense_case.sink)
    inputs.attn_sink = attn_sink.view;
  inputs.softmax_scale = dense_case.softmax_scale;
  return inputs;
}

const std::uint16_t* DenseTensors::cached_row(std::int64_t request, std::int64_t token,
                                              std::int64_t kv_head) {
  const std::int64_t page_size = dense_case.page_size;
  const std::int32_t page =
      block_table.buffer
          .image_as<std::int32_t>()[offset_of(block_table.view, {request, token / page_size})];
  return at(kv_cache, {page, token % page_size, kv_head, 0});
}

const std::uint16_t* DenseTensors::query_row(std::int64_t request, std::int64_t query_token,
                                             std::int64_t head) {
  return at(q, {request, query_token, head, 0});
}

void DenseTensors::fill_queries() {
  const DenseCase& c = dense_case;
  parallel_for(c.batch() * c.query_tokens, [&](std::int64_t i) {
    for (std::int64_t h = 0; h < c.query_heads; ++h)
      write_row(c.type, key_of(c.seed, Stream::queries, i, h),
                {at(q, {i / c.query_tokens, i % c.query_tokens, h, 0}),
                 static_cast<std::size_t>(c.qk_dim)});
  });
}

void DenseTensors::fill_block_table() {
  const PageAssignment assignment = assign_pages(dense_case);
  Random random(key_of(dense_case.seed, Stream::table));
  const auto pages = static_cast<std::int32_t>(assignment.num_pages);
  const std::span entries = block_table.buffer.image_as<std::int32_t>();
  for (std::int32_t& entry : entries)
    entry = random.pick({-1, std::numeric_limits<std::int32_t>::min(),
                         std::numeric_limits<std::int32_t>::max(), pages, pages + 7, -pages});
  for (std::int64_t r = 0; r < dense_case.batch(); ++r)
    std::ranges::copy(assignment.pages[r], entries.begin() + offset_of(block_table.view, {r, 0}));
}

void DenseTensors::fill_cache() {
  const DenseCase& c = dense_case;
  poison(c.type, kv_cache.buffer.image_as<std::uint16_t>());
  const std::vector<PageFill> fills = page_fills(c, assign_pages(c));
  const CommonRow common{c.common, key_of(c.seed, Stream::common_row)};
  parallel_for(static_cast<std::int64_t>(fills.size()), [&](std::int64_t i) {
    const PageFill& fill = fills[i];
    for (std::int64_t token = 0; token < fill.tokens; ++token)
      for (std::int64_t head = 0; head < c.kv_heads; ++head)
        write_row(c.type, key_of(c.seed, Stream::cache, fill.page, token, head),
                  {at(kv_cache, {fill.page, token, head, 0}), static_cast<std::size_t>(c.qk_dim)},
                  common);
  });
}

void DenseTensors::fill_sinks() {
  if (!dense_case.sink)
    return;
  sink_values = draw_sinks(dense_case.query_heads, key_of(dense_case.seed, Stream::sinks));
  std::ranges::copy(sink_values, attn_sink.buffer.image_as<float>().begin());
}

}  // namespace flashmla::support
