// What a decode step over an FP8 cache needs besides a dense one: the index lists of its query
// tokens, and the extra cache of the v4 format.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "flashmla/flashmla.h"
#include "tools/replay/buffer.h"
#include "tools/replay/selection.h"
#include "tools/replay/server.h"

namespace flashmla::tools {

struct EngineOptions;

class SparseLists {
 public:
  SparseLists(const EngineOptions& options, support::Memory& memory);

  // Appends the extra rows that became complete when tokens first … end − 1 of the session were
  // settled.
  void append_extra_rows(const Session& session, std::int64_t layer, std::int64_t first,
                         std::int64_t end);

  // Makes the lists of a step. Before that it appends the extra rows that the last step's tokens
  // completed.
  void fill(std::span<const Session> sessions, std::int64_t layer);
  void add_to(Inputs& inputs, std::int64_t batch, std::int64_t layer) const;

 private:
  TensorView extra_cache(std::int64_t layer) const;

  const EngineOptions& options_;
  std::int64_t topk_;
  std::int64_t extra_topk_ = 0;
  std::int64_t extra_page_size_ = 0;
  std::vector<std::int32_t> indices_;        // [b, s_q, topk]
  std::vector<std::int32_t> extra_indices_;  // [b, s_q, extra_topk]
  std::vector<std::int32_t> lengths_;        // [b]: the longest list of the request's tokens
  std::vector<std::int32_t> extra_lengths_;
  Buffer extra_cache_;  // [layers][pages][extra_page_size][584]
  std::vector<std::uint16_t> rows_;
  std::vector<std::int64_t> slots_;
};

// Sets those fields of a step's problem that sparse attention alone has.
void make_sparse(Problem& problem, const EngineOptions& options);

}  // namespace flashmla::tools
