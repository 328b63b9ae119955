#include "tools/segments.h"

#include <algorithm>
#include <cstddef>

namespace flashmla::tools {

namespace {

// Flags: a request is cut at the same places everywhere; some requests have no tokens.

std::int32_t divide_up(std::int32_t a, std::int32_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

}  // namespace

std::int32_t blocks_of(const ScheduleView& view, std::int32_t request) {
  return divide_up(view.lengths[request], view.block_tokens);
}

std::int32_t segments_of(const ScheduleView& view, std::int32_t request) {
  return std::max(1, view.split_offset[request + 1] - view.split_offset[request]);
}

std::vector<Segment> worker_segments(const ScheduleView& view, std::int32_t requests,
                                     std::int32_t worker) {
  const WorkRow& row = view.work[worker];
  std::vector<Segment> segments;
  for (std::int32_t r = row.first_request; r <= row.last_request; ++r) {
    const std::int32_t blocks = blocks_of(view, r);
    const std::int32_t begin = r == row.first_request ? row.first_block : 0;
    const std::int32_t end = r == row.last_request ? row.end_block : blocks;
    // n = ⌈blocks / piece⌉ pieces follow from the piece's size, and the size from n: ⌈blocks / n⌉.
    const std::int32_t step =
        (row.flags & fixed_pieces) != 0 ? divide_up(blocks, segments_of(view, r)) : blocks;
    std::int32_t split = r == row.first_request ? row.first_split : 0;
    for (std::int32_t block = begin; block < end; block += step, ++split)
      segments.push_back({r, block, std::min(block + step, end), split});
  }
  if ((row.flags & empty_requests) != 0)
    for (std::int32_t r = requests - view.workers + worker; r >= 0; r -= view.workers)
      if (view.lengths[r] == 0)
        segments.push_back({r, 0, 0, 0});
  return segments;
}

}  // namespace flashmla::tools
