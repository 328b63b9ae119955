// Dense decoding on the GPU: from the arguments of a call to launches.
#pragma once

#include <cstddef>

#include "backends/backend.h"
#include "backends/cuda/row_tiles.h"

namespace flashmla::backends::cuda {

// Loads the kernels of a problem on the current device, so that later launches can be captured.
void load_dense_decode(const RowTiles& tiles, const Problem& problem);

std::size_t dense_workspace_bytes(const Problem& problem, const schedule::SplitParams& params);

// Everything is validated. On the current device.
void run_dense_decode(const PlannedProblem& planned, const RowTiles& tiles, const Inputs& inputs,
                      const Outputs& outputs, float softmax_scale, void* run_workspace,
                      void* stream);

}  // namespace flashmla::backends::cuda
