// How calls are timed on a device.
#pragma once

#include <memory>

#include "support/memory.h"
#include "tools/bench/call.h"
#include "tools/bench/report.h"

namespace flashmla::tools {

class CallTimer {
 public:
  virtual ~CallTimer() = default;

  // Fills the timing's seconds; on a GPU also its figures of graphs, all but the recorded ones.
  virtual void time(Call& call, Timing& timing) = 0;
};

// Calls one after the other. Each reads another copy of the cache (--warm: the same one).
std::unique_ptr<CallTimer> cpu_timer(const BenchOptions& options);

// Cold and hot replays of a CUDA graph that holds run(): the schedule was made before. Built where
// the CUDA toolkit is.
std::unique_ptr<CallTimer> gpu_timer(const BenchOptions& options, support::Memory& memory);

}  // namespace flashmla::tools
