// Walking over a finished schedule: what a worker computes, segment by segment.
//
// A caller may hand over the memory of a schedule, so that any numbers may stand in it. Whatever
// they are, a walk is safe: it has at most max_pieces segments of each request. A segment names a
// request of the batch, blocks of the request's first `max_tokens` tokens, and a partial result for
// which there is room.
#pragma once

#include <cstdint>

#include "schedule/division.h"

namespace flashmla::schedule {

// Consecutive blocks of one request that one worker computes. A request without tokens has one
// segment without blocks.
struct Segment {
  std::int32_t request;
  std::int32_t length;  // tokens of the request
  std::int32_t first_block;
  std::int32_t end_block;  // exclusive
  std::int32_t split;      // number of this segment among those of the request
  std::int32_t partial;    // number of its partial result; −1: the request is not split
};

// A schedule, and the limits of its numbers.
struct Walk {
  const std::int32_t* lengths;       // [requests]
  const std::int32_t* split_offset;  // [requests + 1]
  std::int32_t requests;             // b
  std::int32_t workers;
  std::int32_t block_tokens;
  // The largest length of a request, by the plan. Where a block table is narrower, the walk still
  // has the segments behind its end, because combining reads the partial result of each segment.
  std::int32_t max_tokens;
  std::int32_t partials;  // room for partial results of all requests
};

// The part of one request that lies in a worker's share.
struct RequestShare {
  std::int32_t length;   // tokens of the request
  std::int32_t partial;  // first partial result of the request; −1: the request is not split
  std::uint32_t split;   // number of the first segment
  std::int32_t first_block;
  std::int32_t end_block;       // exclusive
  std::int32_t segment_blocks;  // blocks of a segment; the last one may be shorter
};

FLASHMLA_HOST_DEVICE constexpr RequestShare share_of(const Walk& walk, const WorkRow& tile,
                                                     std::int32_t r) {
  const bool first = r == tile.first_request;
  const std::int32_t* const offset = walk.split_offset + r;
  RequestShare share{};
  if (first) {
    share.length = tile.first_length;
    share.partial = tile.first_partial;
    share.split = static_cast<std::uint32_t>(tile.first_split);
    share.first_block = larger(tile.first_block, 0);
  } else {
    share.length = walk.lengths[r];
    share.partial = offset[1] == offset[0] ? -1 : offset[0];
  }
  share.length = smaller(larger(share.length, 0), walk.max_tokens);
  const std::int32_t blocks = blocks_of(share.length, walk.block_tokens);
  share.end_block = r == tile.last_request ? smaller(tile.end_block, blocks) : blocks;
  share.segment_blocks = blocks;
  // Batch-invariant pieces have equal lengths, so the length follows from their number.
  if ((tile.flags & fixed_pieces) != 0 && share.partial >= 0) {
    const auto found = static_cast<std::uint32_t>(offset[1]) - static_cast<std::uint32_t>(*offset);
    const std::uint32_t pieces = smaller(larger(found, 1u), std::uint32_t{max_pieces});
    share.segment_blocks = larger(1, divide_up(static_cast<std::uint32_t>(blocks), pieces));
  }
  return share;
}

// The first request without tokens among `from`, `from` − workers, `from` − 2 workers, … A negative
// number where there is none.
FLASHMLA_HOST_DEVICE constexpr std::int32_t empty_request(const Walk& walk, std::int32_t from) {
  while (from >= 0 && walk.lengths[from] > 0)
    from -= walk.workers;
  return from;
}

// Calls body(Segment) for each segment of worker number `worker`, whose share is `tile`, in order.
// Requests without tokens come last. They are dealt to the workers in turn, from the last request
// and the last worker backwards: the last workers are those that may be idle, and the last requests
// are those that fill up a batch.
//
// NOTE: `body` is called in one place, so that a kernel has its code once. `tile` is passed by
// value, since the memory of the schedule may change during the walk.
template <class Body>
FLASHMLA_HOST_DEVICE void for_each_segment(const Walk& walk, const WorkRow tile,
                                           std::int32_t worker, Body body) {
  const std::int32_t last = smaller(tile.last_request, walk.requests - 1);
  std::int32_t r = larger(tile.first_request, 0);
  bool empty = false;
  while (true) {
    if (!empty && r > last) {
      if ((tile.flags & empty_requests) == 0)
        return;
      empty = true;
      r = walk.requests - walk.workers + worker;
    }
    RequestShare share{0, -1, 0, 0, 0, 0};
    if (empty) {
      r = empty_request(walk, r);
      if (r < 0)
        return;
    } else {
      share = share_of(walk, tile, r);
    }
    std::int32_t block = share.first_block;
    for (bool more = empty || block < share.end_block; more; more = block < share.end_block) {
      const std::int32_t next = block + smaller(share.segment_blocks, share.end_block - block);
      // Unsigned arithmetic: any sum is legal, and the −1 of an unsplit request is too large below.
      const std::uint32_t place = static_cast<std::uint32_t>(share.partial) + share.split;
      const bool split = place < static_cast<std::uint32_t>(walk.partials);
      body(Segment{r, share.length, block, next, static_cast<std::int32_t>(share.split),
                   split ? static_cast<std::int32_t>(place) : -1});
      ++share.split;
      block = next;
    }
    r += empty ? -walk.workers : 1;
  }
}

}  // namespace flashmla::schedule
