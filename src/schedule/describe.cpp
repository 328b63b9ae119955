#include "schedule/describe.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace flashmla::schedule {

namespace {

struct WorkerLoad {
  std::int64_t segments = 0;
  std::int64_t blocks = 0;
  std::int64_t nanoseconds = 0;
};

WorkerLoad load_of(const WorkTile& tile, const SplitParams& params, const PlanMemory& memory) {
  WorkerLoad load;
  for_each_segment(tile, params.block_tokens, memory.lengths, memory.split_offset,
                   [&](const Segment& segment) {
                     ++load.segments;
                     load.blocks += segment.end_block - segment.first_block;
                   });
  load.nanoseconds = load.segments * params.cost.segment_ns + load.blocks * params.cost.block_ns;
  return load;
}

}  // namespace

std::string describe(const SplitParams& params, const PlanMemory& memory) {
  std::ostringstream lines;
  std::ostringstream text;
  text << std::fixed << std::setprecision(1);
  lines << std::fixed << std::setprecision(1);
  std::int64_t longest = 0;
  std::int64_t total = 0;
  std::int32_t busy = 0;
  for (std::int32_t w = 0; w < params.workers; ++w) {
    const WorkTile& tile = memory.work[w];
    const WorkerLoad load = load_of(tile, params, memory);
    if (load.segments == 0)
      continue;
    ++busy;
    longest = std::max(longest, load.nanoseconds);
    total += load.nanoseconds;
    lines << "worker " << w << ": requests " << tile.first_request << " … " << tile.last_request
          << ", from block " << tile.first_block << " to block " << tile.end_block << ", "
          << load.segments << " segments, " << load.blocks << " blocks, "
          << static_cast<double>(load.nanoseconds) * 1e-3 << " us\n";
  }
  text << params.requests << " requests over " << params.workers << " workers (" << busy
       << " busy), blocks of " << params.block_tokens << " tokens, "
       << memory.split_offset[params.requests] << " partial results, longest worker "
       << static_cast<double>(longest) * 1e-3 << " us, mean "
       << static_cast<double>(total) * 1e-3 / params.workers << " us\n"
       << lines.str();
  return std::move(text).str();
}

}  // namespace flashmla::schedule
