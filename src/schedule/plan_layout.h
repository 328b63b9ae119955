// Where the arrays of a schedule lie in the plan workspace, and how large the workspace is.
#pragma once

#include <cstddef>
#include <cstdint>

#include "flashmla/tensor_view.h"
#include "schedule/split_kv.h"
#include "schedule/walk.h"

namespace flashmla::schedule {

// Offsets in bytes from the start of the workspace, each a multiple of workspace_alignment.
struct PlanLayout {
  std::size_t status;        // int32 [1]
  std::size_t work;          // WorkRow [workers]
  std::size_t split_offset;  // int32 [b + 1]
  std::size_t lengths;       // int32 [b]
  std::size_t line;          // LinePlace [b + 1], scratch of split_kv
  std::size_t split_list;    // SplitRequest [workers + 1]
  std::size_t cuts;          // Cut [workers + 1], scratch of split_kv
  std::size_t bytes;         // of the whole workspace

  constexpr explicit PlanLayout(const SplitParams& params) : PlanLayout() {
    const auto requests = static_cast<std::size_t>(params.requests);
    status = take(sizeof(std::int32_t));
    work = take(static_cast<std::size_t>(params.workers) * sizeof(WorkRow));
    split_offset = take((requests + 1) * sizeof(std::int32_t));
    lengths = take(requests * sizeof(std::int32_t));
    line = take((requests + 1) * sizeof(LinePlace<std::int64_t>));
    const auto cuts_of_line = static_cast<std::size_t>(params.workers) + 1;
    split_list = take(cuts_of_line * sizeof(SplitRequest));
    cuts = take(cuts_of_line * sizeof(Cut));
  }

 private:
  constexpr PlanLayout()
      : status(0),
        work(0),
        split_offset(0),
        lengths(0),
        line(0),
        split_list(0),
        cuts(0),
        bytes(0) {}

  constexpr std::size_t take(std::size_t size) {
    const std::size_t offset = bytes;
    bytes += (size + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
    return offset;
  }
};

// The arrays as typed pointers, into the memory of the host or of a GPU.
struct PlanMemory {
  std::int32_t* status;
  WorkRow* work;
  std::int32_t* split_offset;
  std::int32_t* lengths;
  LinePlace<std::int64_t>* line;
  SplitRequest* split_list;
  Cut* cuts;

  PlanMemory(const PlanLayout& layout, void* workspace) {
    auto* base = static_cast<std::byte*>(workspace);
    status = reinterpret_cast<std::int32_t*>(base + layout.status);
    work = reinterpret_cast<WorkRow*>(base + layout.work);
    split_offset = reinterpret_cast<std::int32_t*>(base + layout.split_offset);
    lengths = reinterpret_cast<std::int32_t*>(base + layout.lengths);
    line = reinterpret_cast<LinePlace<std::int64_t>*>(base + layout.line);
    split_list = reinterpret_cast<SplitRequest*>(base + layout.split_list);
    cuts = reinterpret_cast<Cut*>(base + layout.cuts);
  }

  // The schedule as a Walk. No request has more than `max_tokens` tokens, and there is room for
  // `partials` partial results.
  FLASHMLA_HOST_DEVICE Walk walk(const SplitParams& params, std::int32_t max_tokens,
                                 std::int32_t partials) const {
    return {lengths,    split_offset, params.requests, params.workers, params.block_tokens,
            max_tokens, partials};
  }

  // The arrays that split_kv fills, all in the workspace.
  FLASHMLA_HOST_DEVICE SplitMemory<std::int64_t> split_memory() const {
    return {line, split_offset, cuts, work, split_offset, split_list};
  }
};

}  // namespace flashmla::schedule
