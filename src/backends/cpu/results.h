// Where results go: rows of out, lse and max_logits, or partial results of split requests.
#pragma once

#include "backends/backend.h"
#include "backends/cpu/kernel/table.h"
#include "backends/cpu/partials.h"
#include "backends/cpu/tile_memory.h"

namespace flashmla::backends::cpu {

// Rows are numbered (request · s_q + query token) · h_q + query head, and `out` has rank 4.
class OutputRows {
 public:
  OutputRows(const KernelTable& kernels, const Problem& problem, const Inputs& inputs,
             const Outputs& outputs);

  // Writes values × (1 / weight), scaled by the head's sink, and the statistics, which are natural
  // here. `values` are in pair-split order.
  void write(std::int64_t row, const float* values, double weight, double lse,
             double max_logit) const;
  void write_empty(std::int64_t row) const;

 private:
  void* out_row(std::int64_t row) const;
  void write_statistics(std::int64_t row, float lse, double max_logit) const;

  const HalfCodec& codec_;
  const Problem& problem_;
  const TensorView& out_;
  float* lse_;
  float* max_logits_;  // null where nobody asks
  const float* sink_;  // null without one
  double lse_scale_;   // 1 or log2 e: from the natural logarithm to that of Outputs::lse_base
  float empty_lse_;
};

// What a tile computed for one segment goes to `out`, or to a partial result where the schedule
// splits the request.
class SegmentResults {
 public:
  SegmentResults(const KernelTable& kernels, const Partials& partials, const OutputRows& outputs)
      : kernels_(kernels), partials_(partials), outputs_(outputs) {}

  // `request_row`: the row's number in the schedule's request.
  void write(const schedule::Segment& segment, std::int64_t request_row, const TileMemory& memory,
             std::int32_t row) const;

 private:
  const KernelTable& kernels_;
  const Partials& partials_;
  const OutputRows& outputs_;
};

// Merges the partial results of all requests that the schedule splits.
void combine_partials(const KernelTable& kernels, const PlannedProblem& planned,
                      const Partials& partials, const OutputRows& outputs);

}  // namespace flashmla::backends::cpu
