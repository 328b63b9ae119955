// Making a schedule on the device: one thread block copies and clamps the lengths and runs the
// library's split_kv.
#pragma once

#include <cstdint>

#include "schedule/plan_layout.h"
#include "sm90/attend/call.h"
#include "sm90/kernels/plan/block_team.h"
#include "sm90/ops/report_first.h"
#include "sm90/ptx/grid_dependency.h"

namespace flashmla::sm90::plan {

// A batch of at most this many requests has a thread for each request, and its line lies in shared
// memory, where a search is fast. The line of a larger batch lies in the plan workspace.
inline constexpr std::int32_t max_requests_of_threads = max_threads - 1;

// Dynamic shared memory. It is no larger than the batch needs, so that a thread block of swap_ab
// can start on the same multiprocessor.
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

// Copies the given lengths, clamped to 0 … max_tokens. Returns the first request whose length this
// thread had to clamp, or `none`.
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

// The kinds of schedules, as template parameters. A kernel of one kind has no code for the others.
enum class Kind : std::uint8_t { equal_workers, two_speeds, batch_invariant };

inline Kind kind_of(const schedule::SplitParams& params) {
  if (params.batch_invariant)
    return Kind::batch_invariant;
  return params.speeds.fast_workers > 0 ? Kind::two_speeds : Kind::equal_workers;
}

// `ThreadEach`: there are more threads than requests and than workers, and the nanoseconds of the
// line fit 32 bits, which halves the number of instructions.
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
  // NOTE: there is no barrier here. The thread that has copied a length is the first one of the
  // team that reads it.
  const std::int32_t clamped =
      take_lengths(params.requests, given, max_tokens, lengths, memory.lengths);
  schedule::split_kv(params, lengths, made, Team(team));
  if (clamped != none)
    ops::report_first(memory.status, clamped);
}

// Reports the first request of more than `most` tokens. It runs in calls whose block table is
// narrower than max_pages of the plan.
__global__ void report_longer(const std::int32_t* lengths, std::int32_t count, std::int32_t most,
                              std::int32_t* status) {
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  for (auto i = static_cast<std::int32_t>(threadIdx.x); i < count; i += blockDim.x)
    if (lengths[i] > most)
      return ops::report_first(status, i);
}

// Lengths of the host reach the device as kernel parameters, so that no memory has to outlive the
// call.
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

__global__ void fill_lengths(std::int32_t* lengths, std::int32_t count, std::int32_t tokens) {
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  for (auto i = static_cast<std::int32_t>(threadIdx.x); i < count; i += blockDim.x)
    lengths[i] = tokens;
}

}  // namespace flashmla::sm90::plan
