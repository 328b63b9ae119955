// Writing results: rows of out, lse and max_logits, or partial results of split requests.
#pragma once

#include "backends/backend.h"
#include "backends/cpu/kernel/table.h"
#include "backends/cpu/partials.h"
#include "backends/cpu/tile_memory.h"

namespace flashmla::backends::cpu {

// The outputs of a call. Row (request · s_q + query token) · h_q + query head. `out` has rank 4.
class OutputRows {
 public:
  OutputRows(const KernelTable& kernels, const Problem& problem, const Inputs& inputs,
             const Outputs& outputs);

  // Writes values / weight, multiplied by the factor of the head's sink, and lse and max_logit.
  // `values` [d_v] are in pair-split order. `lse` and `max_logit` are natural.
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
  float* max_logits_;  // null where the caller wants none
  const float* sink_;  // null where there is none
  double lse_scale_;   // 1 or log2 e: turns natural logarithms into those of Outputs::lse_base
  float empty_lse_;
};

// The results of a tile for one segment. They go to the outputs, or to a partial result where the
// schedule splits the request.
class SegmentResults {
 public:
  SegmentResults(const KernelTable& kernels, const Partials& partials, const OutputRows& outputs)
      : kernels_(kernels), partials_(partials), outputs_(outputs) {}

  // `row` counts in the tile, `request_row` in the request of the schedule.
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
