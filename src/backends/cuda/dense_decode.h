// Dense decoding on the GPU: the decisions for a problem, and the launches of a call.
#pragma once

#include <optional>
#include <string>

#include "backends/backend.h"
#include "backends/cuda/row_tiles.h"
#include "sm90/kernels/combine/launch.h"

namespace flashmla::backends::cuda {

class DenseDecode final : public Computation {
 public:
  // For a Hopper GPU. `multiprocessors` is the number of all multiprocessors of the GPU, which
  // combine uses.
  DenseDecode(const Problem& problem, const RowTiles& tiles, std::int64_t multiprocessors);

  std::string kernel() const override;
  void prepare() const override;
  void run(const PlannedProblem& planned, const Inputs& inputs, const Outputs& outputs,
           float softmax_scale, void* run_workspace, void* stream) const override;

 private:
  Problem problem_;
  RowTiles tiles_;
  sm90::combine::Kernel<sm90::attend::Output> combine_;
};

// Why no kernel computes the problem. Empty where one does.
std::optional<std::string> refuses_dense_decode(const Problem& problem);

}  // namespace flashmla::backends::cuda
