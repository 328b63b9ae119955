// Merging partial results that callers hold, by log-sum-exp.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cfloat>
#include <cstdint>
#include <numbers>

#include "flashmla/dtype.h"
#include "sm90/ptx/device.h"
#include "sm90/ptx/grid_dependency.h"

namespace flashmla::sm90::merge {

struct Tensor {
  void* data;
  std::int64_t strides[3];  // request, query token, head
  DType dtype;              // bf16, fp16 or fp32
};

struct Lse {
  float* data;
  std::int64_t strides[3];  // request, query token, head
};

struct Part {
  Tensor out;
  Lse lse;
};

struct Params {
  static constexpr int max_parts = 64;
  Part parts[max_parts];
  std::int32_t count;
  Tensor out;
  Lse lse;
  bool base_two;      // base of every lse: 2, or e
  float empty_lse;    // of a row for which no part has a token
  const float* sink;  // [h_q] or null, natural
  std::int64_t rows;  // b · s_q · h_q
  std::int64_t query_tokens;
  std::int64_t query_heads;
  std::int32_t columns;
};

inline constexpr int threads = 128;

FLASHMLA_DEVICE float load(const Tensor& tensor, std::int64_t offset) {
  switch (tensor.dtype) {
    case DType::bf16:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(tensor.data)[offset]);
    case DType::fp16:
      return __half2float(static_cast<const __half*>(tensor.data)[offset]);
    default:
      return static_cast<const float*>(tensor.data)[offset];
  }
}

FLASHMLA_DEVICE void store(const Tensor& tensor, std::int64_t offset, float value) {
  switch (tensor.dtype) {
    case DType::bf16:
      static_cast<__nv_bfloat16*>(tensor.data)[offset] = __float2bfloat16(value);
      break;
    case DType::fp16:
      static_cast<__half*>(tensor.data)[offset] = __float2half(value);
      break;
    default:
      static_cast<float*>(tensor.data)[offset] = value;
  }
}

// A row: query token and head of a request.
struct Row {
  std::int64_t request, token, head;

  FLASHMLA_DEVICE explicit Row(const Params& p, std::int64_t i)
      : request(i / p.query_heads / p.query_tokens),
        token(i / p.query_heads % p.query_tokens),
        head(i % p.query_heads) {}

  FLASHMLA_DEVICE std::int64_t in(const std::int64_t (&strides)[3]) const {
    return request * strides[0] + token * strides[1] + head * strides[2];
  }
};

FLASHMLA_DEVICE float lse_of(const Lse& lse, const Row& row) {
  return lse.data[row.in(lse.strides)];
}

// The weight of a part with this lse, relative to the largest weight. A part with weight 0 is not
// read.
FLASHMLA_DEVICE float weight_of(float lse, float largest, bool base_two) {
  if (isinf(lse))
    return 0;
  const float weight = base_two ? exp2f(lse - largest) : expf(lse - largest);
  return weight < FLT_MIN ? 0 : weight;
}

// The lse as a natural logarithm.
FLASHMLA_DEVICE float natural(float lse, bool base_two) {
  return base_two ? lse * std::numbers::ln2_v<float> : lse;
}

// A thread block merges one row at a time. All lse of a row are read before any is written, because
// `lse` may be the tensor of a part.
__global__ void __launch_bounds__(threads) merge_rows(const __grid_constant__ Params p) {
  static_assert(threads >= Params::max_parts);
  __shared__ float weights[Params::max_parts];
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  for (std::int64_t i = blockIdx.x; i < p.rows; i += gridDim.x) {
    const Row row(p, i);
    float max = -__builtin_huge_valf();
    for (int part = 0; part < p.count; ++part)
      if (const float lse = lse_of(p.parts[part].lse, row); !isinf(lse))
        max = lse > max || isnan(lse) ? lse : max;
    const bool empty = isinf(max);
    __syncthreads();  // no thread reads the weights of the previous row any more
    if (threadIdx.x < p.count)
      weights[threadIdx.x] = weight_of(lse_of(p.parts[threadIdx.x].lse, row), max, p.base_two);
    __syncthreads();
    float sum = 0;
    for (int part = 0; part < p.count; ++part)
      sum += weights[part];
    const float lse = max + (p.base_two ? log2f(sum) : logf(sum));
    const float kept = p.sink == nullptr || empty
                           ? 1.0f
                           : 1 / (1 + expf(p.sink[row.head] - natural(lse, p.base_two)));
    for (int column = threadIdx.x; column < p.columns; column += threads) {
      float value = 0;
      for (int part = 0; part < p.count; ++part)
        if (const float weight = weights[part]; weight != 0)
          value +=
              weight / sum * load(p.parts[part].out, row.in(p.parts[part].out.strides) + column);
      store(p.out, row.in(p.out.strides) + column, empty ? 0 : value * kept);
    }
    if (threadIdx.x == 0)
      p.lse.data[row.in(p.lse.strides)] = empty ? p.empty_lse : lse;
  }
}

}  // namespace flashmla::sm90::merge
