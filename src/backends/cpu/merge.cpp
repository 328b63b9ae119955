#include "backends/cpu/merge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backends/cpu/thread_pool.h"
#include "core/numeric.h"

namespace flashmla::backends::cpu {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t rows_at_a_time = 16;

// A part is not read where its weight, relative to the largest weight, is below this. It is the
// smallest normal fp32 number, as on a GPU.
constexpr double min_weight = std::numeric_limits<float>::min();

// One row [d_v] of a tensor [b, s_q, h_q, d_v].
struct Position {
  std::int64_t request;
  std::int64_t token;
  std::int64_t head;

  std::int64_t in(const TensorView& out) const {
    return request * out.strides[0] + token * out.strides[1] + head * out.strides[2];
  }
  std::int64_t in_lse(const TensorView& lse) const {
    return request * lse.strides[0] + head * lse.strides[1] + token * lse.strides[2];
  }
};

// sum += weight · row
void add_row(const TensorView& tensor, std::int64_t offset, double weight, double* sum) {
  const std::int64_t count = tensor.shape[3];
  if (count == 0)
    return;  // a tensor without columns has no memory
  const auto* const halves = static_cast<const std::uint16_t*>(tensor.data) + offset;
  switch (tensor.dtype) {
    case DType::bf16:
      for (std::int64_t i = 0; i < count; ++i)
        sum[i] += weight * bf16_to_float(halves[i]);
      break;
    case DType::fp16:
      for (std::int64_t i = 0; i < count; ++i)
        sum[i] += weight * fp16_to_float(halves[i]);
      break;
    default: {
      const auto* const floats = static_cast<const float*>(tensor.data) + offset;
      for (std::int64_t i = 0; i < count; ++i)
        sum[i] += weight * floats[i];
    }
  }
}

// row = factor · sum, rounded once
void store_row(const TensorView& tensor, std::int64_t offset, double factor, const double* sum) {
  const std::int64_t count = tensor.shape[3];
  if (count == 0)
    return;
  auto* const halves = static_cast<std::uint16_t*>(tensor.data) + offset;
  switch (tensor.dtype) {
    case DType::bf16:
      for (std::int64_t i = 0; i < count; ++i)
        halves[i] = float_to_bf16(static_cast<float>(factor * sum[i]));
      break;
    case DType::fp16:
      for (std::int64_t i = 0; i < count; ++i)
        halves[i] = float_to_fp16(static_cast<float>(factor * sum[i]));
      break;
    default: {
      auto* const floats = static_cast<float*>(tensor.data) + offset;
      for (std::int64_t i = 0; i < count; ++i)
        floats[i] = static_cast<float>(factor * sum[i]);
    }
  }
}

// Powers and logarithms in the base of the lse.
struct Logarithm {
  LseBase base;

  double power(double exponent) const {
    return base == LseBase::two ? std::exp2(exponent) : std::exp(exponent);
  }
  double of(double value) const {
    return base == LseBase::two ? std::log2(value) : std::log(value);
  }
  double natural(double lse) const { return lse / scale_of(base); }
};

// All parts of the row are read before anything is written, because out and lse may be the tensors
// of a part.
void merge_row(std::span<const PartialResult> parts, const float* sink, const Outputs& outputs,
               const Position& row, double* sum) {
  const Logarithm logarithm{outputs.lse_base};
  const auto lse_of = [&](const PartialResult& part) {
    return static_cast<double>(static_cast<const float*>(part.lse.data)[row.in_lse(part.lse)]);
  };
  double largest = -infinity;
  for (const PartialResult& part : parts)
    if (!std::isinf(lse_of(part)))
      largest = std::fmax(largest, lse_of(part));

  const TensorView& out = outputs.out;
  std::fill_n(sum, out.shape[3], 0.0);
  double total = 0;
  for (const PartialResult& part : parts) {
    if (std::isinf(lse_of(part)))
      continue;
    const double weight = logarithm.power(lse_of(part) - largest);
    if (weight < min_weight)
      continue;
    total += weight;
    add_row(part.out, row.in(part.out), weight, sum);
  }
  const bool empty = total == 0;
  const double merged = empty ? infinity : largest + logarithm.of(total);
  const double kept =
      sink == nullptr ? 1.0 : 1.0 / (1.0 + std::exp(sink[row.head] - logarithm.natural(merged)));
  store_row(out, row.in(out), empty ? 0.0 : kept / total, sum);
  static_cast<float*>(outputs.lse.data)[row.in_lse(outputs.lse)] =
      empty ? value_of(outputs.empty_lse) : static_cast<float>(merged);
}

}  // namespace

void merge_parts(std::span<const PartialResult> parts, const TensorView& attn_sink,
                 const Outputs& outputs) {
  const TensorView& out = outputs.out;
  const auto* const sink = static_cast<const float*>(attn_sink.data);
  const std::int64_t tokens = out.shape[1];
  const std::int64_t heads = out.shape[2];
  const std::int64_t rows = out.shape[0] * tokens * heads;
  parallel_for((rows + rows_at_a_time - 1) / rows_at_a_time, 0, [&](std::int64_t unit) {
    std::vector<double> sum(static_cast<std::size_t>(out.shape[3]));
    const std::int64_t end = std::min(rows, (unit + 1) * rows_at_a_time);
    for (std::int64_t row = unit * rows_at_a_time; row < end; ++row)
      merge_row(parts, sink, outputs, {row / heads / tokens, row / heads % tokens, row % heads},
                sum.data());
  });
}

}  // namespace flashmla::backends::cpu
