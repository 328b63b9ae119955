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

// Lists and extra cache lie in the memory of the engine's device.
class SparseLists {
 public:
  SparseLists(const EngineOptions& options, support::Memory& memory);

  // Appends the extra rows of the session's prompt, in all layers.
  void prefill(const Session& session);

  // Makes the lists of a step, for all layers. Before that it appends the extra rows that the last
  // step's tokens completed.
  void fill(std::span<const Session> sessions);
  void add_to(Inputs& inputs, std::int64_t batch, std::int64_t layer) const;

 private:
  // The lists of all layers into one cache.
  struct Lists {
    Lists(std::int64_t list_entries, support::Memory& memory)
        : topk(list_entries), indices(memory, 0), lengths(memory, 0) {}

    std::int64_t topk;
    Buffer indices;  // [layers][b, s_q, topk]
    Buffer lengths;  // [layers][b]: the longest list of the request's tokens
  };
  // Extra rows that are complete.
  struct ExtraRows {
    std::vector<std::int64_t> requests;  // whose rows they are
    std::vector<std::int64_t> numbers;   // of the rows, in the request
    std::vector<std::int64_t> slots;
  };

  TensorView extra_cache(std::int64_t layer) const;
  // Adds the rows that became complete when tokens first … end − 1 of the session were settled.
  void collect(const Session& session, std::int64_t first, std::int64_t end, ExtraRows& rows) const;
  void append(const ExtraRows& rows);

  const EngineOptions& options_;
  support::Memory& memory_;
  std::int64_t extra_page_size_;
  Lists main_;
  Lists extra_;
  Buffer extra_cache_;  // [layers][pages][extra_page_size][584]
  Buffer rows_;         // rows on their way into the extra cache
  Buffer keys_;         // of these rows, for all layers
  Buffer slots_;        // of these rows
};

// Sets those fields of a step's problem that sparse attention alone has.
void make_sparse(Problem& problem, const EngineOptions& options);

}  // namespace flashmla::tools
