// Which blocks of which request a worker of a schedule computes, read from the public form of the
// schedule alone (docs/architecture.md).
#pragma once

#include <cstdint>
#include <vector>

#include "flashmla/plan.h"

namespace flashmla::tools {

// Consecutive blocks of one request, computed by one worker as a unit.
struct Segment {
  std::int32_t request;
  std::int32_t first_block;
  std::int32_t end_block;  // exclusive
  std::int32_t split;      // which of the request's segments this is
};

// Blocks of a request; none of one without tokens.
std::int32_t blocks_of(const ScheduleView& view, std::int32_t request);

// Segments that a request is cut into, at least 1.
std::int32_t segments_of(const ScheduleView& view, std::int32_t request);

// A worker's segments in order; those of requests without tokens, which have no blocks, come last.
// The schedule lies on the host and is one of `requests`.
std::vector<Segment> worker_segments(const ScheduleView& view, std::int32_t requests,
                                     std::int32_t worker);

}  // namespace flashmla::tools
