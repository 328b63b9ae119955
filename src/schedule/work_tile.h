// The form of a schedule, shared by host, device and the CPU backend. Plain integers, because
// callers of the older Python interface hold the two arrays as int32 tensors, copy and slice them:
//
//   work[workers][8]     a WorkTile each
//   split_offset[b + 1]  request r owns partial results split_offset[r] … split_offset[r + 1] − 1;
//                        none when it is not split: its result is written directly
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

// A worker's share: a contiguous range of the sequence (request 0 block 0, request 0 block 1, …).
// Empty when last_request < first_request. Requests without tokens have no block in it, wherever
// they stand; walk.h says who writes their results. Aligned, so that a GPU moves it in two
// instructions.
struct alignas(16) WorkTile {
  std::int32_t first_request;
  std::int32_t last_request;  // inclusive
  std::int32_t first_block;   // in first_request
  std::int32_t end_block;     // in last_request, exclusive
  std::int32_t first_split;   // which of first_request's segments the range starts with
  std::int32_t flags;         // WorkFlags
  // Of first_request, so that a worker begins without looking elsewhere; 0 and −1 of an empty
  // range.
  std::int32_t first_length;   // tokens
  std::int32_t first_partial;  // its split_offset; −1 where it is not split
};
static_assert(sizeof(WorkTile) == 8 * sizeof(std::int32_t));

enum WorkFlags : std::int32_t {
  fixed_pieces = 1,    // batch-invariant: a request is cut every piece_blocks() blocks
  empty_requests = 2,  // some requests of the batch have no tokens
};

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
