// Walking over a finished schedule: what a worker computes, segment by segment.
//
// A schedule is memory that a caller may hand over, so that any numbers may stand in it. Whatever
// they are, a walk ends after at most max_pieces segments of each request, and these name requests
// of the batch, blocks of their first `max_tokens` tokens, and places among the partial results
// that there is room for.
#pragma once

#include <cstdint>

#include "schedule/division.h"

namespace flashmla::schedule {

// One run of consecutive blocks of one request, computed by one worker as a unit. A request without
// tokens has one segment without blocks.
struct Segment {
  std::int32_t request;
  std::int32_t length;  // tokens of the request
  std::int32_t first_block;
  std::int32_t end_block;  // exclusive
  std::int32_t split;      // which of the request's segments this is
  std::int32_t partial;    // where its result goes; −1: the request is not split
};

// A schedule, and what its numbers may be.
struct Walk {
  const std::int32_t* lengths;       // [requests]
  const std::int32_t* split_offset;  // [requests + 1]
  std::int32_t requests;             // b
  std::int32_t workers;
  std::int32_t block_tokens;
  // Of a request, by its plan. A block table may be narrower: then segments behind its end are
  // still there, for each has a partial result that combining reads.
  std::int32_t max_tokens;
  std::int32_t partials;  // of all requests, at most
};

// What a worker's share holds of one request.
struct RequestShare {
  std::int32_t length;  // tokens of the request
  std::int32_t partial;
  std::uint32_t split;  // of the first segment
  std::int32_t first_block;
  std::int32_t end_block;
  std::int32_t step;  // blocks from one cut to the next
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
  share.step = blocks;
  // Pieces of equal length: their number says how long they are.
  if ((tile.flags & fixed_pieces) != 0 && share.partial >= 0) {
    const auto found = static_cast<std::uint32_t>(offset[1]) - static_cast<std::uint32_t>(*offset);
    const std::uint32_t pieces = smaller(larger(found, 1u), std::uint32_t{max_pieces});
    share.step = larger(1, divide_up(static_cast<std::uint32_t>(blocks), pieces));
  }
  return share;
}

// The last request without tokens among `from`, `from` − workers, …; below 0 where there is none.
FLASHMLA_HOST_DEVICE constexpr std::int32_t empty_request(const Walk& walk, std::int32_t from) {
  while (from >= 0 && walk.lengths[from] > 0)
    from -= walk.workers;
  return from;
}

// Calls body(Segment) for each segment of worker number `worker`, whose share is `tile`, in order.
// Behind them come those of requests without tokens. They are dealt to the workers in turn, from
// the last of both back: idle workers are the last ones, and so are requests that fill a batch up.
//
// NOTE: one call of `body` for both, so that a kernel has its code once; and the worker's own copy
// of `tile`, which may change in memory.
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
      const std::int32_t next = block + smaller(share.step, share.end_block - block);
      // Unsigned: the sum may be anything, and is beyond all places where there is none.
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
