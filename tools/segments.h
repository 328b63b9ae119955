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

// Blocks of a request; one without tokens still takes one, in which its result is written.
std::int32_t blocks_of(const ScheduleView& view, std::int32_t request);

// Segments that a request is cut into, at least 1.
std::int32_t segments_of(const ScheduleView& view, std::int32_t request);

// A worker's segments in order. The schedule lies on the host.
std::vector<Segment> worker_segments(const ScheduleView& view, std::int32_t worker);

}  // namespace flashmla::tools
