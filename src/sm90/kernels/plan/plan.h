// Making a schedule on the device: one block of threads runs the library's split_kv over lengths
// that it has copied and clamped.
#pragma once

#include <cstdint>

#include "schedule/plan_layout.h"
#include "sm90/kernels/dense_decode/params.h"
#include "sm90/kernels/plan/block_team.h"
#include "sm90/ptx/grid_dependency.h"

namespace flashmla::sm90::plan {

// A schedule of at most so many requests and workers is made in shared memory, where a search
// through it is fast, and copied; a larger one in the plan workspace.
inline constexpr std::int32_t most_shared_requests = 1024;
inline constexpr std::int32_t most_shared_workers = 256;

struct SharedSchedule {
  std::int64_t start[most_shared_requests + 1];
  std::int32_t lengths[most_shared_requests];
  std::int32_t split_offset[most_shared_requests + 1];
  schedule::WorkTile work[most_shared_workers];
};

// Copies the given lengths, clamped to 0 … most_tokens; `status` becomes 0, or 1 + the first
// request whose length is not in that range.
FLASHMLA_DEVICE void take_lengths(std::int32_t requests, const std::int32_t* given,
                                  std::int32_t most_tokens, std::int32_t* lengths,
                                  std::int32_t* kept, std::int32_t* status) {
  bool clamped = false;
#pragma unroll 1
  for (auto r = static_cast<std::int32_t>(threadIdx.x); r < requests; r += blockDim.x) {
    const std::int32_t tokens = given[r];
    const std::int32_t length = min(max(tokens, 0), most_tokens);
    lengths[r] = length;
    kept[r] = length;
    clamped |= tokens != length;
  }
  const bool any = __syncthreads_or(clamped);
  if (threadIdx.x == 0) {
    std::int32_t r = 0;
    while (any && given[r] == lengths[r])
      ++r;
    *status = any ? r + 1 : 0;
  }
}

template <bool BatchInvariant>
__global__ void __launch_bounds__(most_threads)
    make_schedule(schedule::SplitParams params, const schedule::PlanMemory memory,
                  const std::int32_t* given, std::int32_t most_tokens) {
  __shared__ BlockTeam::SharedStorage shared;
  __shared__ SharedSchedule made;
  __shared__ std::int32_t steps_before[schedule::most_combined_workers + 1];
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  const BlockTeam team(shared);
  params.batch_invariant = BatchInvariant;  // known to the compiler
  params.block_tokens = dense_decode::block_tokens;
  const bool small =
      params.requests <= most_shared_requests && params.workers <= most_shared_workers;
  std::int64_t* const start = small ? made.start : memory.start;
  std::int32_t* const lengths = small ? made.lengths : memory.lengths;
  std::int32_t* const split_offset = small ? made.split_offset : memory.split_offset;
  schedule::WorkTile* const work = small ? made.work : memory.work;
  take_lengths(params.requests, given, most_tokens, lengths, memory.lengths, memory.status);
  schedule::split_kv(params, lengths, start, work, split_offset, team);
  if constexpr (!BatchInvariant)
    schedule::list_split_requests(params, work, split_offset, steps_before, memory.split_list,
                                  team);
  if (small) {
    team.for_each(params.workers, [&](std::int32_t w) { memory.work[w] = work[w]; });
    team.for_each(params.requests + 1,
                  [&](std::int32_t r) { memory.split_offset[r] = split_offset[r]; });
  }
}

// Lengths that the host knows reach the device by value, so that nothing has to outlive the call.
struct LengthChunk {
  static constexpr int most = 800;
  std::int32_t values[most];
};

__global__ void write_lengths(const __grid_constant__ LengthChunk chunk, std::int32_t* lengths,
                              std::int32_t count) {
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  for (auto i = static_cast<std::int32_t>(threadIdx.x); i < count; i += blockDim.x)
    lengths[i] = chunk.values[i];
}

}  // namespace flashmla::sm90::plan
