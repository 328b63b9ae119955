#include "tools/replay/sparse_lists.h"

#include <algorithm>

#include "support/numeric.h"
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
    : options_(options), extra_cache_(memory, 0) {
  const Problem problem = step_problem(options, 0);
  topk_ = problem.topk;
  extra_topk_ = problem.extra_topk;
  extra_page_size_ = problem.extra_page_size;
  if (extra_topk_ > 0)
    extra_cache_.grow(static_cast<std::size_t>(options.layers * options.pages * extra_page_size_ *
                                               V4Layout::token_bytes));
}

TensorView SparseLists::extra_cache(std::int64_t layer) const {
  const std::int64_t bytes = options_.pages * extra_page_size_ * V4Layout::token_bytes;
  return {extra_cache_.data() + layer * bytes,
          DType::u8,
          {options_.pages, extra_page_size_, 1, V4Layout::token_bytes}};
}

void SparseLists::append_extra_rows(const Session& session, std::int64_t layer, std::int64_t first,
                                    std::int64_t end) {
  if (extra_topk_ == 0)
    return;
  const std::int64_t begin_row = first / tokens_of_extra_row;
  const std::int64_t count = end / tokens_of_extra_row - begin_row;
  if (count <= 0)
    return;
  constexpr std::int64_t width = V4Layout::qk_dim;
  rows_.resize(static_cast<std::size_t>(count * width));
  slots_.resize(static_cast<std::size_t>(count));
  support::parallel_for(count, [&](std::int64_t i) {
    std::vector<float> row(width);
    fill_extra_row(options_.seed, {session.request, begin_row + i, layer, 0}, row);
    support::encode(DType::bf16, row, {rows_.data() + i * width, row.size()});
    slots_[i] = place_in(session, begin_row + i, extra_page_size_);
  });
  options_.append(extra_cache(layer), KvFormat::v4, {rows_.data(), DType::bf16, {count, 1, width}},
                  {slots_.data(), DType::i64, {count}});
}

void SparseLists::fill(std::span<const Session> sessions, std::int64_t layer) {
  const std::int64_t drafts = options_.drafts;
  for (const Session& session : sessions)
    append_extra_rows(session, layer, std::max(session.context, session.position() - drafts),
                      session.position());
  indices_.resize(sessions.size() * drafts * topk_);
  extra_indices_.resize(sessions.size() * drafts * extra_topk_);
  lengths_.assign(sessions.size(), 0);
  extra_lengths_.assign(sessions.size(), 0);
  support::parallel_for(std::ssize(sessions), [&](std::int64_t r) {
    const Session& session = sessions[r];
    for (std::int64_t t = 0; t < drafts; ++t) {
      const std::int64_t token = r * drafts + t;
      const Selection selection = select_rows(
          options_.format, options_.seed,
          {session.request, session.position() + t, layer, session.step + 1}, session.position());
      lengths_[r] = std::max(
          lengths_[r],
          write_list(session, selection.tokens, options_.page_size,
                     std::span(indices_).subspan(token * topk_, static_cast<std::size_t>(topk_))));
      extra_lengths_[r] = std::max(
          extra_lengths_[r],
          write_list(session, selection.extra_rows, std::max<std::int64_t>(1, extra_page_size_),
                     std::span(extra_indices_)
                         .subspan(token * extra_topk_, static_cast<std::size_t>(extra_topk_))));
    }
  });
}

void SparseLists::add_to(Inputs& inputs, std::int64_t batch, std::int64_t layer) const {
  const auto list = [&](const std::vector<std::int32_t>& indices, std::int64_t topk) {
    return TensorView(const_cast<std::int32_t*>(indices.data()), DType::i32,
                      {batch, options_.drafts, topk});
  };
  const auto counts = [&](const std::vector<std::int32_t>& lengths) {
    return TensorView(const_cast<std::int32_t*>(lengths.data()), DType::i32, {batch});
  };
  inputs.indices = list(indices_, topk_);
  inputs.topk_length = counts(lengths_);
  if (extra_topk_ == 0)
    return;
  inputs.extra_kv_cache = extra_cache(layer);
  inputs.extra_indices = list(extra_indices_, extra_topk_);
  inputs.extra_topk_length = counts(extra_lengths_);
}

}  // namespace flashmla::tools
