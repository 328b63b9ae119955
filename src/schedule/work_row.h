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

// A request whose partial results have to be combined, in a list with an entry for each worker: the
// request that is first cut where the worker begins. `splits` is 0 where there is none.
struct alignas(16) SplitRequest {
  std::int32_t request;
  std::int32_t first_partial;
  std::int32_t splits;
  std::int32_t steps_before;  // Σ combine_steps() of the entries before
};

// Combining: rows that the smallest share of a request's work has, and partial results that a
// thread reads at once where there are many.
inline constexpr std::int32_t combine_rows = 8;
inline constexpr std::int32_t combine_loads = 9;
inline constexpr std::int32_t max_combine_lanes = 16;  // threads that share a position
inline constexpr std::int32_t max_combined_workers = max_combine_lanes * combine_loads;

// Steps that combining takes for each combine_rows rows: 1 and 2 where a thread has several
// positions, 4 and more where 1 and more threads share one. Below `splits`, so that all requests of
// a schedule together take fewer than there are workers.
FLASHMLA_HOST_DEVICE constexpr std::int32_t combine_steps(std::int32_t splits) {
  if (splits <= 4)
    return splits < 2 ? 0 : splits == 2 ? 1 : 2;
  std::int32_t lanes = 1;
  while (lanes < max_combine_lanes && combine_loads * lanes < splits)
    lanes *= 2;
  return 4 * lanes;
}

}  // namespace flashmla::schedule
