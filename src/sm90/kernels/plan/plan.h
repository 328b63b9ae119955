// Making a schedule on the device: one block of threads runs the library's split_kv over lengths
// that it has copied and clamped.
#pragma once

#include <cstdint>

#include "schedule/plan_layout.h"
#include "sm90/attend/call.h"
#include "sm90/kernels/plan/block_team.h"
#include "sm90/ops/report_first.h"
#include "sm90/ptx/grid_dependency.h"

namespace flashmla::sm90::plan {

// A batch of at most so many requests has a thread for each, and its line in shared memory, where a
// search through it is fast; the line of a larger one lies in the plan workspace.
inline constexpr std::int32_t max_requests_of_threads = max_threads - 1;

// Dynamic shared memory: no more than the batch needs, so that a block of swap_ab can start on the
// same multiprocessor.
struct SharedLine {
  using Place = schedule::LinePlace<std::int32_t>;

  schedule::Cut* cuts;    // [workers + 1]
  Place* line;            // [requests + 1], like what follows where each request has a thread
  std::int32_t* before;   // [requests + 1]
  std::int32_t* lengths;  // [requests]

  FLASHMLA_DEVICE SharedLine(const schedule::SplitParams& params, std::uint8_t* bytes)
      : cuts(reinterpret_cast<schedule::Cut*>(bytes)),
        line(reinterpret_cast<Place*>(cuts + params.workers + 1)),
        before(reinterpret_cast<std::int32_t*>(line + params.requests + 1)),
        lengths(before + params.requests + 1) {}

  static std::uint32_t bytes(const schedule::SplitParams& params, bool thread_each) {
    const auto requests = static_cast<std::uint32_t>(thread_each ? params.requests + 1 : 0);
    return (params.workers + 1) * sizeof(schedule::Cut) +
           requests * (sizeof(Place) + 2 * sizeof(std::int32_t));
  }
};

inline constexpr std::int32_t none = -1;

// Copies the given lengths, clamped to 0 … max_tokens. The first request of which this thread had
// to clamp the length, or `none`.
FLASHMLA_DEVICE std::int32_t take_lengths(std::int32_t requests, const std::int32_t* given,
                                          std::int32_t max_tokens, std::int32_t* lengths,
                                          std::int32_t* kept) {
  std::int32_t clamped = none;
#pragma unroll 1
  for (auto r = static_cast<std::int32_t>(threadIdx.x); r < requests; r += blockDim.x) {
    const std::int32_t tokens = given[r];
    const std::int32_t length = min(max(tokens, 0), max_tokens);
    lengths[r] = length;
    kept[r] = length;
    if (tokens != length && clamped == none)
      clamped = r;
  }
  return clamped;
}

// What the compiler is told of a schedule: a kernel of one kind does not wait for what only another
// one computes.
enum class Kind : std::uint8_t { equal_workers, two_speeds, batch_invariant };

inline Kind kind_of(const schedule::SplitParams& params) {
  if (params.batch_invariant)
    return Kind::batch_invariant;
  return params.speeds.fast_workers > 0 ? Kind::two_speeds : Kind::equal_workers;
}

// `ThreadEach`: there are more threads than requests, and than workers, and a line of nanoseconds
// fits into 32 bits, with which it takes half of the instructions.
template <Kind ScheduleKind, bool ThreadEach>
__global__ void __launch_bounds__(max_threads, 1)
    make_schedule(schedule::SplitParams params, const schedule::PlanMemory memory,
                  const std::int32_t* given, std::int32_t max_tokens) {
  using Team = BlockTeam<ThreadEach>;
  __shared__ typename Team::SharedStorage team;
  extern __shared__ __align__(16) std::uint8_t bytes[];
  const SharedLine shared(params, bytes);
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  params.batch_invariant = ScheduleKind == Kind::batch_invariant;
  if (ScheduleKind != Kind::two_speeds)
    params.speeds = {};
  params.block_tokens = attend::block_tokens;
  std::int32_t* lengths = memory.lengths;
  schedule::SplitMemory<typename Team::Ns> made{
      nullptr,     memory.split_offset, shared.cuts,
      memory.work, memory.split_offset, memory.split_list};
  if constexpr (ThreadEach) {
    lengths = shared.lengths;
    made.line = shared.line;
    made.before = shared.before;
  } else {
    made.line = memory.line;
  }
  if (threadIdx.x == 0)
    *memory.status = 0;
  // NOTE: no barrier here. The team looks at a length first in the thread that took it.
  const std::int32_t clamped =
      take_lengths(params.requests, given, max_tokens, lengths, memory.lengths);
  schedule::split_kv(params, lengths, made, Team(team));
  if (clamped != none)
    ops::report_first(memory.status, clamped);
}

// Reports the first request of more than `most` tokens: to calls whose block table is narrower than
// their plan's lengths may be.
__global__ void report_longer(const std::int32_t* lengths, std::int32_t count, std::int32_t most,
                              std::int32_t* status) {
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  for (auto i = static_cast<std::int32_t>(threadIdx.x); i < count; i += blockDim.x)
    if (lengths[i] > most)
      return ops::report_first(status, i);
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
