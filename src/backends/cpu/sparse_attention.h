// Sparse decoding and sparse prefill: walks the schedule over lists of cache slots, then combines
// the partial results of split lists.
#pragma once

#include "backends/backend.h"
#include "backends/cpu/kernel/table.h"

namespace flashmla::backends::cpu {

void run_sparse_attention(const KernelTable& kernels, const PlannedProblem& planned,
                          const Inputs& inputs, const Outputs& outputs, float softmax_scale,
                          void* run_workspace);

}  // namespace flashmla::backends::cpu
