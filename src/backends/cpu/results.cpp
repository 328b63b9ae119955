#include "backends/cpu/results.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/isa.h"

namespace flashmla::backends::cpu {

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

}  // namespace

OutputRows::OutputRows(const KernelTable& kernels, const Problem& problem, const Inputs& inputs,
                       const Outputs& outputs)
    : codec_(codec_of(kernels, problem.query_type)),
      problem_(problem),
      out_(outputs.out),
      lse_(static_cast<float*>(outputs.lse.data)),
      max_logits_(static_cast<float*>(outputs.max_logits.data)),
      sink_(static_cast<const float*>(inputs.attn_sink.data)),
      lse_scale_(scale_of(outputs.lse_base)),
      empty_lse_(value_of(outputs.empty_lse)) {}

void OutputRows::write(std::int64_t row, const float* values, double weight, double lse,
                       double max_logit) const {
  const std::int64_t head = row % problem_.query_heads;
  const double kept = sink_ == nullptr ? 1.0 : 1.0 / (1.0 + std::exp(sink_[head] - lse));
  codec_.store(values, out_row(row), static_cast<std::int32_t>(problem_.v_dim),
               static_cast<float>(kept / weight));
  write_statistics(row, static_cast<float>(lse * lse_scale_), max_logit * lse_scale_);
}

void OutputRows::write_empty(std::int64_t row) const {
  std::fill_n(static_cast<std::uint16_t*>(out_row(row)), problem_.v_dim, std::uint16_t{0});
  write_statistics(row, empty_lse_, -infinity);
}

void* OutputRows::out_row(std::int64_t row) const {
  const std::int64_t head = row % problem_.query_heads;
  const std::int64_t token = row / problem_.query_heads;
  return static_cast<std::uint16_t*>(out_.data) + token / problem_.query_tokens * out_.strides[0] +
         token % problem_.query_tokens * out_.strides[1] + head * out_.strides[2];
}

// lse is [b, h_q, s_q], in prefill [s_q, h_q]. max_logits is [s_q, h_q].
void OutputRows::write_statistics(std::int64_t row, float lse, double max_logit) const {
  std::int64_t place = row;
  if (problem_.kind != AttentionKind::sparse_prefill) {
    const std::int64_t token = row / problem_.query_heads;
    place = (token / problem_.query_tokens * problem_.query_heads + row % problem_.query_heads) *
                problem_.query_tokens +
            token % problem_.query_tokens;
  }
  lse_[place] = lse;
  if (max_logits_ != nullptr)
    max_logits_[place] = static_cast<float>(max_logit);
}

void SegmentResults::write(const schedule::Segment& segment, std::int64_t request_row,
                           const TileMemory& memory, std::int32_t row) const {
  const float sum = memory.sum[row];
  const float* values = memory.out + row * memory.v_dim;
  if (segment.partial < 0) {
    const std::int64_t output_row = segment.request * partials_.rows() + request_row;
    if (sum == 0.0f)
      return outputs_.write_empty(output_row);
    return outputs_.write(output_row, values, sum, memory.lse(row), memory.max_logit(row));
  }
  const std::int64_t partial = segment.partial;
  partials_.lse(partial, request_row) =
      sum == 0.0f ? -infinity : static_cast<float>(memory.lse(row));
  if (partials_.has_max_logits())
    partials_.max_logit(partial, request_row) = static_cast<float>(memory.max_logit(row));
  if (sum != 0.0f)
    kernels_.scale(values, partials_.out(partial, request_row), memory.v_dim, 1.0f / sum);
}

}  // namespace flashmla::backends::cpu
