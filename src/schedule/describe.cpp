#include "schedule/describe.h"

#include <algorithm>
#include <iomanip>
#include <limits>
#include <sstream>

#include "schedule/walk.h"

namespace flashmla::schedule {

namespace {

struct WorkerLoad {
  std::int64_t segments = 0;
  std::int64_t empty = 0;  // segments of requests without tokens, which take no time
  std::int64_t blocks = 0;
  std::int64_t nanoseconds = 0;
};

WorkerLoad load_of(std::int32_t worker, const SplitParams& params, const PlanMemory& memory) {
  constexpr std::int32_t any = std::numeric_limits<std::int32_t>::max();
  WorkerLoad load;
  for_each_segment(memory.walk(params, any, any), memory.work[worker], worker,
                   [&](const Segment& segment) {
                     ++load.segments;
                     load.empty += segment.length == 0 ? 1 : 0;
                     load.blocks += segment.end_block - segment.first_block;
                   });
  load.nanoseconds =
      (load.segments - load.empty) * params.cost.segment_ns + load.blocks * params.cost.block_ns;
  return load;
}

std::string line_of(std::int32_t worker, const WorkRow& tile, const WorkerLoad& load) {
  std::ostringstream line;
  line << std::fixed << std::setprecision(1) << "worker " << worker << ": ";
  if (load.blocks > 0)
    line << "requests " << tile.first_request << " … " << tile.last_request << ", from block "
         << tile.first_block << " to block " << tile.end_block << ", ";
  line << load.segments << " segments, ";
  if (load.empty > 0)
    line << load.empty << " of requests without tokens, ";
  line << load.blocks << " blocks, " << static_cast<double>(load.nanoseconds) * 1e-3 << " us\n";
  return std::move(line).str();
}

}  // namespace

std::string describe(const SplitParams& params, const PlanMemory& memory) {
  std::string lines;
  std::ostringstream text;
  text << std::fixed << std::setprecision(1);
  std::int64_t longest_ns = 0;
  std::int64_t total_ns = 0;
  std::int32_t busy = 0;
  for (std::int32_t w = 0; w < params.workers; ++w) {
    const WorkerLoad load = load_of(w, params, memory);
    if (load.segments == 0)
      continue;
    ++busy;
    longest_ns = std::max(longest_ns, load.nanoseconds);
    total_ns += load.nanoseconds;
    lines += line_of(w, memory.work[w], load);
  }
  text << params.requests << " requests over " << params.workers << " workers (" << busy
       << " busy), blocks of " << params.block_tokens << " tokens, "
       << memory.split_offset[params.requests] << " partial results, longest worker "
       << static_cast<double>(longest_ns) * 1e-3 << " us, mean "
       << static_cast<double>(total_ns) * 1e-3 / params.workers << " us\n"
       << lines;
  return std::move(text).str();
}

}  // namespace flashmla::schedule
