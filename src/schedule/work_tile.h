// The form of a schedule, which host, device and CPU backend share. It consists of two arrays of
// integers, because callers of the older Python interface hold them as int32 tensors, copy and
// slice them:
//
//   work[workers][8]     a WorkTile for each worker
//   split_offset[b + 1]  request r owns the partial results split_offset[r] …
//                        split_offset[r + 1] − 1. A request that is not split owns none: its result
//                        is written directly
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define FLASHMLA_HOST_DEVICE __host__ __device__
#define FLASHMLA_OUT_OF_LINE __noinline__
#else
#define FLASHMLA_HOST_DEVICE
#define FLASHMLA_OUT_OF_LINE
#endif

namespace flashmla::schedule {

// The share of a worker: a contiguous range of the sequence (request 0 block 0, request 0 block 1,
// …). The share is empty where last_request < first_request. Requests without tokens have no block
// in it; walk.h says who writes their results. The struct is aligned, so that a GPU moves it in two
// instructions.
struct alignas(16) WorkTile {
  std::int32_t first_request;
  std::int32_t last_request;  // inclusive
  std::int32_t first_block;   // in first_request
  std::int32_t end_block;     // in last_request, exclusive
  std::int32_t first_split;   // number of the segment of first_request that the range starts with
  std::int32_t flags;         // WorkFlags
  // Two numbers of first_request, so that a worker can begin without another load. An empty share
  // has 0 and −1.
  std::int32_t first_length;   // tokens
  std::int32_t first_partial;  // its split_offset; −1: it is not split
};
static_assert(sizeof(WorkTile) == 8 * sizeof(std::int32_t));

enum WorkFlags : std::int32_t {
  fixed_pieces = 1,    // batch-invariant mode: a request is cut every piece_blocks() blocks
  empty_requests = 2,  // some requests of the batch have no tokens
};

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
