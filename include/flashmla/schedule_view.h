// The arrays of a schedule in the plan workspace: which worker computes which blocks of which
// request.
#pragma once

#include <cstdint>

namespace flashmla {

enum WorkFlags : std::int32_t {
  // Batch-invariant mode: a request of n blocks with s partial results is cut every ⌈n / s⌉ blocks.
  fixed_pieces = 1,
  empty_requests = 2,  // some requests of the batch have no tokens
};

// The work of one worker: a contiguous range of the sequence (request 0 block 0, request 0 block 1,
// …, request 1 block 0, …). The range is empty where last_request < first_request. Requests without
// tokens have no block in it. Their results are dealt to the workers in turn, from the last request
// and the last worker backwards.
//
// Aligned, so that a GPU reads it in two instructions. Callers of the older Python interface hold
// these rows as an int32 tensor [workers, 8].
struct alignas(16) WorkRow {
  std::int32_t first_request;
  std::int32_t last_request;  // inclusive
  std::int32_t first_block;   // in first_request
  std::int32_t end_block;     // in last_request, exclusive
  std::int32_t first_split;   // number of the segment of first_request that the range starts with
  std::int32_t flags;         // WorkFlags
  // Two numbers of first_request. They are 0 and −1 where the range is empty.
  std::int32_t first_length;   // tokens
  std::int32_t first_partial;  // its split_offset; −1 where it is not split
};
static_assert(sizeof(WorkRow) == 8 * sizeof(std::int32_t));

// Pointers to the arrays of a schedule in the plan workspace, on the plan's device. In sparse
// problems b is the number of query tokens, b · s_q, and their lengths are topk + extra_topk.
struct ScheduleView {
  std::int32_t workers = 0;
  std::int32_t block_tokens = 0;  // tokens in a block; work is divided block by block
  const WorkRow* work = nullptr;  // [workers]
  // [b + 1]: request r has the partial results split_offset[r] … split_offset[r + 1] − 1. A request
  // that one worker computes alone has none.
  const std::int32_t* split_offset = nullptr;
  const std::int32_t* lengths = nullptr;  // [b] tokens, the plan's own copy
  std::int32_t* status = nullptr;         // [1], see Plan::status
};

}  // namespace flashmla
