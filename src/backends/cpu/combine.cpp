#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/results.h"
#include "backends/cpu/scratch.h"
#include "backends/cpu/thread_pool.h"

namespace flashmla::backends::cpu {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t rows_at_a_time = 64;

// Combines one row of a request whose partial results are p = first … end − 1:
//   lse = ln Σ_p exp(lse_p),  out = Σ_p exp(lse_p − lse) out_p
void combine_row(const KernelTable& kernels, std::int64_t v_elements, const Partials& partials,
                 const OutputRows& outputs, std::int64_t request, std::int64_t row,
                 std::int64_t first, std::int64_t end) {
  const std::int64_t output_row = request * partials.rows() + row;
  double max_logit = -infinity;
  double largest = -infinity;  // fmax ignores NaN; a NaN reaches the result through its weight
  bool empty = true;
  for (std::int64_t p = first; p < end; ++p) {
    largest = std::fmax(largest, partials.lse(p, row));
    empty = empty && partials.lse(p, row) == -infinity;
    if (partials.has_max_logits())
      max_logit = std::fmax(max_logit, partials.max_logit(p, row));
  }
  if (empty)
    return outputs.write_empty(output_row);

  const auto v_dim = static_cast<std::int32_t>(v_elements);
  float* const sum = thread_scratch(static_cast<std::size_t>(v_dim));
  std::fill_n(sum, v_dim, 0.0f);
  double total = 0;
  for (std::int64_t p = first; p < end; ++p) {
    const double lse = partials.lse(p, row);
    if (lse == -infinity)
      continue;
    const double weight = std::exp(lse - largest);
    total += weight;
    kernels.add_scaled(partials.out(p, row), sum, v_dim, static_cast<float>(weight));
  }
  outputs.write(output_row, sum, total, largest + std::log(total), max_logit);
}

}  // namespace

void combine_partials(const KernelTable& kernels, const PlannedProblem& planned,
                      const Partials& partials, const OutputRows& outputs) {
  const Problem& problem = planned.problem;
  const std::int32_t* split_offset = planned.memory().split_offset;
  const std::int64_t requests = planned.params.requests;
  if (split_offset[requests] == 0)
    return;
  const std::int64_t groups = schedule::divide_up(partials.rows(), rows_at_a_time);
  parallel_for(requests * groups, problem.max_workers, [&](std::int64_t unit) {
    const std::int64_t request = unit / groups;
    // The schedule may hold any numbers (PlannedProblem::walk()), so they are clamped.
    const auto first = std::clamp<std::int64_t>(split_offset[request], 0, partials.count());
    const auto end = std::clamp<std::int64_t>(split_offset[request + 1], first, partials.count());
    if (first == end)
      return;
    const std::int64_t begin_row = unit % groups * rows_at_a_time;
    const std::int64_t end_row = std::min(begin_row + rows_at_a_time, partials.rows());
    for (std::int64_t row = begin_row; row < end_row; ++row)
      combine_row(kernels, problem.v_dim, partials, outputs, request, row, first, end);
  });
}

}  // namespace flashmla::backends::cpu
