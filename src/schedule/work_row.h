// The form of a schedule, shared by host, device and the CPU backend: the rows that
// flashmla/schedule_view.h describes, and the list of requests whose partial results are combined.
#pragma once

#include <cstdint>

#include "flashmla/schedule_view.h"

#if defined(__CUDACC__)
#define FLASHMLA_HOST_DEVICE __host__ __device__
#define FLASHMLA_OUT_OF_LINE __noinline__
#else
#define FLASHMLA_HOST_DEVICE
#define FLASHMLA_OUT_OF_LINE
#endif

namespace flashmla::schedule {

// An entry of the list of split requests, whose partial results have to be combined. The list has
// an entry for each worker: the request whose first cut is where the worker begins. `splits` is 0
// where there is no such request.
struct alignas(16) SplitRequest {
  std::int32_t request;
  std::int32_t first_partial;
  std::int32_t splits;        // number of its partial results
  std::int32_t steps_before;  // Σ combine_steps() of all earlier entries
};

// Combining a request takes steps. A step is what one thread block does at a time. A unit is 8
// columns of one row, which a thread reads with one load.
inline constexpr std::int32_t combine_rows = 8;   // rows for which steps are counted
inline constexpr std::int32_t combine_loads = 9;  // partial results that a thread reads at once
inline constexpr std::int32_t max_combine_lanes = 16;  // threads that share a unit
inline constexpr std::int32_t max_combined_workers = max_combine_lanes * combine_loads;

// The number of steps that combining takes for each combine_rows rows. It is 1 or 2 where a thread
// has several units, 4 where a thread has one unit, and more where several threads share one unit.
// The number is below `splits`. So all requests of a schedule together take fewer steps (for each
// combine_rows rows) than there are workers.
FLASHMLA_HOST_DEVICE constexpr std::int32_t combine_steps(std::int32_t splits) {
  if (splits <= 4)
    return splits < 2 ? 0 : splits == 2 ? 1 : 2;
  std::int32_t lanes = 1;
  while (lanes < max_combine_lanes && combine_loads * lanes < splits)
    lanes *= 2;
  return 4 * lanes;
}

}  // namespace flashmla::schedule
