// Combines the partial results p of split requests by log-sum-exp:
//   lse = log2 Σ_p 2^lse_p,  out = Σ_p 2^(lse_p − lse) out_p
// and applies the sink. Work is dealt out in steps of 128 threads. A unit is 8 columns of one row.
// A thread has 8 or 9 loads of a unit in flight. Where there are few partial results it has several
// units; where there are many, several threads share one unit. Requests that are not split cost
// nothing.
//
// NOTE: a thread block runs this code once and finds the instruction cache cold. So the code has
// few instructions and few jumps: loads are predicated, and there are no divisions.
#pragma once

#include <cstdint>

#include "sm90/kernels/combine/few_splits.h"
#include "sm90/kernels/combine/many_splits.h"

namespace flashmla::sm90::combine {

// The number of thread blocks for which the loads leave registers.
template <class T>
inline constexpr int blocks_of_multiprocessor = Unit<T>::loads == 1 ? 7 : 4;
inline constexpr int max_workers = schedule::max_combined_workers;
static_assert(max_workers <= 2 * threads, "a thread looks at two entries");

// Batch-invariant mode: 2^piece_lane_bits threads share a unit. piece_steps() is the number of
// steps of a request.
inline constexpr int piece_lane_bits = 2;
FLASHMLA_HOST_DEVICE constexpr std::int64_t piece_steps(std::int64_t rows) {
  constexpr int units = threads >> piece_lane_bits;
  return (rows * units_per_row + units - 1) / units;
}

// Whether an entry names a request of the batch and partial results for which there is room. A
// caller may have handed over the memory of the list.
template <class Output>
FLASHMLA_DEVICE bool is_sound(const Params<Output>& p, const Entry& entry) {
  const auto request = static_cast<std::uint32_t>(entry.request);
  const auto first = static_cast<std::uint32_t>(entry.first_partial);
  const auto splits = static_cast<std::uint32_t>(entry.splits);
  const auto partials = static_cast<std::uint32_t>(p.schedule.partials);
  return request < static_cast<std::uint32_t>(p.schedule.requests) && splits >= 2 &&
         splits <= partials && first <= partials - splits;
}

// log2 of the lanes that share a unit, where `steps` is 4 · lanes. Any other `steps` gives a number
// of lanes that exists.
FLASHMLA_DEVICE int lane_bits_of(std::int32_t steps) {
  constexpr int max_bits = 4;
  static_assert(schedule::max_combine_lanes == 1 << max_bits);
  return max(1, min(max_bits, 29 - __clz(steps)));
}

// The work of a thread block.
struct Step {
  Entry entry;
  std::int32_t steps;  // of each group of combine_rows rows of the request
};

struct SharedStorage {
  Step step;
  LaneSums sums;
};

// The list has an entry for each split request. Each group of combine_rows rows of such a request
// takes combine_steps() steps. Step s belongs to the last entry whose steps_before is at most s /
// p.groups. Each thread reads two entries. The thread that finds the entry of the step writes it to
// shared memory.
//
// NOTE: 32 bits are enough for a step, because requests with more rows have fewer workers. The list
// was made before the previous kernel started, so it may be read before that kernel has ended.
template <class T, class Output>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor<T>)
    combine_splits(const __grid_constant__ Params<Output> p) {
  __shared__ SharedStorage shared;
  ptx::launch_dependents();
  const std::int32_t workers = p.schedule.workers;
  for (auto step = static_cast<std::int32_t>(blockIdx.x);;
       step += static_cast<std::int32_t>(gridDim.x)) {
    const std::int32_t group = p.by_groups.quotient(step);
    const std::int32_t groups =
        schedule::smaller(p.schedule.split_list[workers].steps_before, workers - 1);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const auto index = schedule::smaller<std::int32_t>(
          static_cast<std::int32_t>(threadIdx.x) + i * threads, workers - 1);
      const Entry entry = p.schedule.split_list[index];
      const std::int32_t end = p.schedule.split_list[index + 1].steps_before;
      if (entry.steps_before <= group && group < end)
        shared.step = {entry, end - entry.steps_before};
    }
    if (group >= groups)
      break;
    __syncthreads();
    const auto [entry, steps] = shared.step;
    const std::int32_t own = step - entry.steps_before * p.groups;
    if (is_sound(p, entry)) {
      if (steps == 1)
        combine_few<T, 4, 2>(p, entry, own);
      else if (steps == 2)
        combine_few<T, 2, 4>(p, entry, own);
      else if (steps == 4)
        combine_few<T, 1, schedule::combine_loads>(p, entry, own);
      else  // steps == 4 · lanes
        combine_many<T>(p, entry, own, lane_bits_of(steps), shared.sums);
    }
    __syncthreads();
  }
  // NOTE: no thread block may end before this wait, because the next kernel waits only for this
  // one.
  ptx::wait_for_prerequisites();
}

// Batch-invariant mode. Cuts do not follow the workers there, so that the kernel looks at every
// request. The order of additions depends only on the number of partial results of the request.
template <class T, class Output>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor<T>)
    combine_pieces(const __grid_constant__ Params<Output> p) {
  __shared__ SharedStorage shared;
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  const std::int64_t each = piece_steps(p.rows.kv_heads * p.rows.count);
  for (std::int64_t i = blockIdx.x; i < each * p.schedule.requests; i += gridDim.x) {
    const auto request = static_cast<std::int32_t>(i / each);
    const std::int32_t first = p.schedule.split_offset[request];
    const std::int32_t splits = p.schedule.split_offset[request + 1] - first;
    const Entry entry{request, first, schedule::smaller(splits, schedule::max_pieces), 0};
    if (is_sound(p, entry))
      combine_many<T>(p, entry, static_cast<std::int32_t>(i % each), piece_lane_bits, shared.sums);
    __syncthreads();
  }
}

}  // namespace flashmla::sm90::combine
