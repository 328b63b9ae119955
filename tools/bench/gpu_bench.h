// Times dense shapes on a GPU. Built where the CUDA toolkit is.
#pragma once

#include <memory>
#include <vector>

#include "support/device/graph_timer.h"
#include "support/memory.h"
#include "tools/bench/options.h"
#include "tools/bench/report.h"

namespace flashmla::tools {

// The large tensors are made once, for the largest of the shapes.
class GpuBench {
 public:
  GpuBench(const std::vector<Shape>& shapes, const BenchOptions& options);

  // Cold and hot calls of run(): decoding and combining, the schedule made before. Fills the
  // timing's seconds.
  GraphFigures time(Timing& timing);

 private:
  struct Call;

  BenchOptions options_;
  std::unique_ptr<support::Memory> memory_;
  support::GraphTimer timer_;
  std::shared_ptr<std::byte> cache_;  // of as many rows as the largest shape has in whole pages
  std::shared_ptr<std::byte> queries_;
  std::shared_ptr<std::byte> out_;
  std::shared_ptr<std::byte> lse_;
};

}  // namespace flashmla::tools
