// Dense decoding: walks the schedule, then combines the partial results of split requests.
#pragma once

#include <cstddef>

#include "backends/backend.h"
#include "backends/cpu/kernel/table.h"
#include "backends/cpu/partials.h"

namespace flashmla::backends::cpu {

std::size_t dense_workspace_bytes(const Problem& problem, const schedule::SplitParams& params);

void run_dense_decode(const KernelTable& kernels, const PlannedProblem& planned,
                      const Inputs& inputs, const Outputs& outputs, float softmax_scale,
                      void* run_workspace);

// Where results go: rows of out and lse.
class OutputRows {
 public:
  OutputRows(const KernelTable& kernels, const Problem& problem, const Inputs& inputs,
             const Outputs& outputs);

  // Writes row × (1 / weight), scaled by the head's sink, and lse. `row` is in pair-split order.
  void write(std::int64_t request, std::int64_t token, std::int64_t head, const float* row,
             double weight, double lse) const;
  void write_empty(std::int64_t request, std::int64_t token, std::int64_t head) const;

 private:
  void* out_row(std::int64_t request, std::int64_t token, std::int64_t head) const;
  float& lse(std::int64_t request, std::int64_t token, std::int64_t head) const;

  const HalfCodec& codec_;
  const Problem& problem_;
  const TensorView& out_;
  float* lse_;
  const float* sink_;  // null without one
};

// Merges the partial results of all requests that the schedule splits.
void combine_partials(const KernelTable& kernels, const PlannedProblem& planned,
                      const Partials& partials, const OutputRows& outputs);

}  // namespace flashmla::backends::cpu
