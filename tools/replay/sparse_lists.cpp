#include "tools/replay/sparse_lists.h"

#include <algorithm>

#include "support/parallel.h"
#include "tools/replay/engine.h"

namespace flashmla::tools {

namespace {

std::int64_t place_in(const Session& session, std::int64_t index, std::int64_t page_size) {
  return session.pages[index / page_size] * page_size + index % page_size;
}

// Writes the slots of `rows`, in a cache whose pages have the numbers of the session's pages, and
// after them entries that name no slot. Returns how many entries name one.
std::int32_t write_list(const Session& session, const std::vector<std::int64_t>& rows,
                        std::int64_t page_size, std::span<std::int32_t> list) {
  std::ranges::fill(list, -1);
  std::ranges::transform(rows, list.begin(), [&](std::int64_t row) {
    return static_cast<std::int32_t>(place_in(session, row, page_size));
  });
  return static_cast<std::int32_t>(rows.size());
}

}  // namespace

void make_sparse(Problem& problem, const EngineOptions& options) {
  problem.kind = AttentionKind::sparse_decode;
  problem.max_pages = 0;
  problem.causal = false;
  problem.topk = options.format == KvFormat::v32 ? v32_topk : v4_window;
  if (options.format != KvFormat::v4)
    return;
  problem.extra_topk = v4_extra_topk;
  problem.extra_page_size = (options.page_size + tokens_of_extra_row - 1) / tokens_of_extra_row;
}

SparseLists::SparseLists(const EngineOptions& options, support::Memory& memory)
    : options_(options),
      memory_(memory),
      extra_page_size_(step_problem(options, 0).extra_page_size),
      main_(step_problem(options, 0).topk, memory),
      extra_(step_problem(options, 0).extra_topk, memory),
      extra_cache_(memory, 0),
      rows_(memory, 0),
      keys_(memory, 0),
      slots_(memory, 0) {
  if (extra_.topk > 0)
    extra_cache_.grow(static_cast<std::size_t>(options.layers * options.pages * extra_page_size_ *
                                               V4Layout::token_bytes));
}

TensorView SparseLists::extra_cache(std::int64_t layer) const {
  const std::int64_t bytes = options_.pages * extra_page_size_ * V4Layout::token_bytes;
  return {extra_cache_.data() + layer * bytes,
          DType::u8,
          {options_.pages, extra_page_size_, 1, V4Layout::token_bytes},
          options_.device};
}

void SparseLists::collect(const Session& session, std::int64_t first, std::int64_t end,
                          ExtraRows& rows) const {
  if (extra_.topk == 0)
    return;
  for (std::int64_t row = first / tokens_of_extra_row; row < end / tokens_of_extra_row; ++row) {
    rows.requests.push_back(session.request);
    rows.numbers.push_back(row);
    rows.slots.push_back(place_in(session, row, extra_page_size_));
  }
}

void SparseLists::append(const ExtraRows& rows) {
  const std::int64_t count = std::ssize(rows.slots);
  if (count == 0)
    return;
  constexpr std::int64_t width = V4Layout::qk_dim;
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(options_.layers * count));
  for (std::int64_t layer = 0; layer < options_.layers; ++layer)
    for (std::int64_t i = 0; i < count; ++i)
      keys[layer * count + i] =
          extra_row_key(options_.seed, {rows.requests[i], rows.numbers[i], layer, 0});
  keys_.upload<std::uint64_t>(keys);
  slots_.upload<std::int64_t>(rows.slots);
  rows_.grow(static_cast<std::size_t>(count * width) * sizeof(std::uint16_t));
  for (std::int64_t layer = 0; layer < options_.layers; ++layer) {
    memory_.fill_rows(rows_.data(), DType::bf16, width, keys_.as<std::uint64_t>() + layer * count,
                      count);
    options_.append(extra_cache(layer), KvFormat::v4,
                    {rows_.data(), DType::bf16, {count, 1, width}, options_.device},
                    {slots_.data(), DType::i64, {count}, options_.device});
  }
}

void SparseLists::prefill(const Session& session) {
  ExtraRows rows;
  collect(session, 0, session.context, rows);
  append(rows);
}

void SparseLists::fill(std::span<const Session> sessions) {
  const std::int64_t drafts = options_.drafts;
  const std::int64_t batch = std::ssize(sessions);
  ExtraRows completed;
  for (const Session& session : sessions)
    collect(session, std::max(session.context, session.position() - drafts), session.position(),
            completed);
  append(completed);
  const auto of_layers = [&](std::int64_t count) {
    return std::vector<std::int32_t>(static_cast<std::size_t>(options_.layers * batch * count));
  };
  std::vector<std::int32_t> indices = of_layers(drafts * main_.topk);
  std::vector<std::int32_t> extra_indices = of_layers(drafts * extra_.topk);
  std::vector<std::int32_t> lengths = of_layers(1);
  std::vector<std::int32_t> extra_lengths = of_layers(1);
  const auto list_of = [](std::vector<std::int32_t>& all, std::int64_t list, std::int64_t topk) {
    return std::span(all).subspan(list * topk, static_cast<std::size_t>(topk));
  };
  support::parallel_for(options_.layers * batch, [&](std::int64_t i) {
    const Session& session = sessions[i % batch];
    for (std::int64_t t = 0; t < drafts; ++t) {
      const Selection selection =
          select_rows(options_.format, options_.seed,
                      {session.request, session.position() + t, i / batch, session.step + 1},
                      session.position());
      const std::int64_t list = i * drafts + t;
      lengths[i] = std::max(lengths[i], write_list(session, selection.tokens, options_.page_size,
                                                   list_of(indices, list, main_.topk)));
      extra_lengths[i] =
          std::max(extra_lengths[i], write_list(session, selection.extra_rows,
                                                std::max<std::int64_t>(1, extra_page_size_),
                                                list_of(extra_indices, list, extra_.topk)));
    }
  });
  main_.indices.upload<std::int32_t>(indices);
  main_.lengths.upload<std::int32_t>(lengths);
  extra_.indices.upload<std::int32_t>(extra_indices);
  extra_.lengths.upload<std::int32_t>(extra_lengths);
}

void SparseLists::add_to(Inputs& inputs, std::int64_t batch, std::int64_t layer) const {
  const auto indices = [&](const Lists& lists) {
    return TensorView(
        lists.indices.as<std::int32_t>() + layer * batch * options_.drafts * lists.topk, DType::i32,
        {batch, options_.drafts, lists.topk}, options_.device);
  };
  const auto lengths = [&](const Lists& lists) {
    return TensorView(lists.lengths.as<std::int32_t>() + layer * batch, DType::i32, {batch},
                      options_.device);
  };
  inputs.indices = indices(main_);
  inputs.topk_length = lengths(main_);
  if (extra_.topk == 0)
    return;
  inputs.extra_kv_cache = extra_cache(layer);
  inputs.extra_indices = indices(extra_);
  inputs.extra_topk_length = lengths(extra_);
}

}  // namespace flashmla::tools
