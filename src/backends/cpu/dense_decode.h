// Dense decoding: walks the schedule, then combines the partial results of split requests.
#pragma once

#include <cstddef>

#include "backends/backend.h"
#include "backends/cpu/kernel/table.h"

namespace flashmla::backends::cpu {

void run_dense_decode(const KernelTable& kernels, const PlannedProblem& planned,
                      const Inputs& inputs, const Outputs& outputs, float softmax_scale,
                      void* run_workspace);

}  // namespace flashmla::backends::cpu
