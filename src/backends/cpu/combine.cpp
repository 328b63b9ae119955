#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/dense_decode.h"
#include "backends/cpu/isa.h"
#include "backends/cpu/scratch.h"
#include "backends/cpu/thread_pool.h"

namespace flashmla::backends::cpu {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t rows_at_a_time = 64;

// One row of a request whose partial results are first … end − 1:
//   lse = ln Σ_p exp(lse_p),  out = Σ_p exp(lse_p − lse) out_p
void combine_row(const KernelTable& kernels, const Problem& problem, const Partials& partials,
                 const OutputRows& outputs, std::int64_t request, std::int64_t row,
                 std::int64_t first, std::int64_t end) {
  const std::int64_t token = row / problem.query_heads;
  const std::int64_t head = row % problem.query_heads;
  double largest = -infinity;  // NaN aside, which reaches the result through its weight
  bool empty = true;
  for (std::int64_t p = first; p < end; ++p) {
    largest = std::fmax(largest, partials.lse(p, row));
    empty = empty && partials.lse(p, row) == -infinity;
  }
  if (empty)
    return outputs.write_empty(request, token, head);

  const auto v_dim = static_cast<std::int32_t>(problem.v_dim);
  float* const sum = thread_scratch(static_cast<std::size_t>(v_dim));
  std::fill_n(sum, v_dim, 0.0f);
  double total = 0;
  for (std::int64_t p = first; p < end; ++p) {
    const double part = partials.lse(p, row);
    if (part == -infinity)
      continue;
    const double weight = std::exp(part - largest);
    total += weight;
    kernels.add_scaled(partials.out(p, row), sum, v_dim, static_cast<float>(weight));
  }
  outputs.write(request, token, head, sum, total, largest + std::log(total));
}

}  // namespace

void combine_partials(const KernelTable& kernels, const PlannedProblem& planned,
                      const Partials& partials, const OutputRows& outputs) {
  const Problem& problem = planned.problem;
  const std::int32_t* split_offset = planned.memory().split_offset;
  if (split_offset[problem.batch] == 0)
    return;
  const std::int64_t chunks = schedule::divide_up(partials.rows(), rows_at_a_time);
  parallel_for(problem.batch * chunks, problem.max_workers, [&](std::int64_t unit) {
    const std::int64_t request = unit / chunks;
    const std::int64_t first = split_offset[request];
    const std::int64_t end = split_offset[request + 1];
    if (first == end)
      return;
    const std::int64_t begin_row = unit % chunks * rows_at_a_time;
    const std::int64_t end_row = std::min(begin_row + rows_at_a_time, partials.rows());
    for (std::int64_t row = begin_row; row < end_row; ++row)
      combine_row(kernels, problem, partials, outputs, request, row, first, end);
  });
}

OutputRows::OutputRows(const KernelTable& kernels, const Problem& problem, const Inputs& inputs,
                       const Outputs& outputs)
    : codec_(codec_of(kernels, problem.query_type)),
      problem_(problem),
      out_(outputs.out),
      lse_(static_cast<float*>(outputs.lse.data)),
      sink_(static_cast<const float*>(inputs.attn_sink.data)) {}

void OutputRows::write(std::int64_t request, std::int64_t token, std::int64_t head,
                       const float* row, double weight, double natural_lse) const {
  const double kept = sink_ == nullptr ? 1.0 : 1.0 / (1.0 + std::exp(sink_[head] - natural_lse));
  codec_.store(row, out_row(request, token, head), static_cast<std::int32_t>(problem_.v_dim),
               static_cast<float>(kept / weight));
  lse(request, token, head) = static_cast<float>(natural_lse);
}

void OutputRows::write_empty(std::int64_t request, std::int64_t token, std::int64_t head) const {
  std::fill_n(static_cast<std::uint16_t*>(out_row(request, token, head)), problem_.v_dim,
              std::uint16_t{0});
  lse(request, token, head) = std::numeric_limits<float>::infinity();
}

void* OutputRows::out_row(std::int64_t request, std::int64_t token, std::int64_t head) const {
  return static_cast<std::uint16_t*>(out_.data) + request * out_.strides[0] +
         token * out_.strides[1] + head * out_.strides[2];
}

float& OutputRows::lse(std::int64_t request, std::int64_t token, std::int64_t head) const {
  return lse_[(request * problem_.query_heads + head) * problem_.query_tokens + token];
}

}  // namespace flashmla::backends::cpu
