// Making a schedule on the device: one block of threads runs the library's split_kv over lengths
// that it has copied and clamped.
#pragma once

#include <cstdint>

#include "schedule/plan_layout.h"
#include "sm90/kernels/plan/block_team.h"
#include "sm90/ptx/grid_dependency.h"

namespace flashmla::sm90::plan {

// Requests whose lengths and places the kernel keeps in shared memory, where a search through them
// is fast; more of them are searched in the plan workspace.
inline constexpr std::int32_t most_shared_requests = 2048;

// Lengths outside of 0 … most_tokens are clamped; `status` names the first such request.
template <bool BatchInvariant>
__global__ void __launch_bounds__(most_threads)
    make_schedule(schedule::SplitParams params, const schedule::PlanMemory memory,
                  const std::int32_t* given, std::int32_t most_tokens) {
  __shared__ BlockTeam::SharedStorage shared;
  __shared__ std::int32_t lanes_before[schedule::most_combined_workers + 1];
  __shared__ std::int64_t shared_start[most_shared_requests + 1];
  __shared__ std::int32_t shared_lengths[most_shared_requests];
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  const BlockTeam team(shared);
  params.batch_invariant = BatchInvariant;  // known to the compiler
  const bool small = params.requests <= most_shared_requests;
  std::int64_t* const start = small ? shared_start : memory.start;
  std::int32_t* const lengths = small ? shared_lengths : memory.lengths;
  constexpr std::int64_t none = std::int64_t{1} << 40;
  const std::int64_t first_bad = none - team.max(params.requests, [&](std::int32_t r) {
    const std::int32_t tokens = given[r];
    const std::int32_t length = min(max(tokens, 0), most_tokens);
    lengths[r] = length;
    memory.lengths[r] = length;
    return tokens == length ? std::int64_t{0} : none - (r + 1);
  });
  if (threadIdx.x == 0)
    *memory.status = first_bad == none ? 0 : static_cast<std::int32_t>(first_bad);
  schedule::split_kv(params, lengths, start, memory.work, memory.split_offset, team);
  if constexpr (!BatchInvariant)
    schedule::list_split_requests(params, memory.work, memory.split_offset, lanes_before,
                                  memory.split_list, team);
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
