// Merging partial results that callers hold, by natural log-sum-exp.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "flashmla/dtype.h"
#include "sm90/ptx/device.h"
#include "sm90/ptx/grid_dependency.h"

namespace flashmla::sm90::merge {

struct Tensor {
  void* data;
  std::int64_t strides[3];  // request, query token, head
  DType dtype;              // bf16, fp16 or fp32
};

struct Part {
  Tensor out;
  const float* lse;  // [b, h_q, s_q]
};

struct Params {
  static constexpr int most_parts = 64;
  Part parts[most_parts];
  std::int32_t count;
  Tensor out;
  float* lse;
  const float* sink;  // [h_q] or null
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

// A block merges a row. Every thread reads all of a row's lse before any is written: `lse` may be a
// part's own.
__global__ void __launch_bounds__(threads) merge_rows(const __grid_constant__ Params p) {
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  for (std::int64_t i = blockIdx.x; i < p.rows; i += gridDim.x) {
    const std::int64_t head = i % p.query_heads;
    const std::int64_t token = i / p.query_heads % p.query_tokens;
    const std::int64_t request = i / p.query_heads / p.query_tokens;
    const std::int64_t at = (request * p.query_heads + head) * p.query_tokens + token;
    const auto offset = [&](const Tensor& tensor) {
      return request * tensor.strides[0] + token * tensor.strides[1] + head * tensor.strides[2];
    };
    float max = -__builtin_huge_valf();
    for (int part = 0; part < p.count; ++part)
      if (const float lse = p.parts[part].lse[at]; !isinf(lse))
        max = lse > max || isnan(lse) ? lse : max;
    const bool empty = isinf(max);
    float sum = 0;
    for (int part = 0; part < p.count; ++part)
      if (const float lse = p.parts[part].lse[at]; !isinf(lse))
        sum += expf(lse - max);
    const float lse = max + logf(sum);
    __syncthreads();
    const float kept = p.sink == nullptr || empty ? 1.0f : 1 / (1 + expf(p.sink[head] - lse));
    for (int column = threadIdx.x; column < p.columns; column += threads) {
      float value = 0;
      for (int part = 0; part < p.count; ++part)
        if (const float own = p.parts[part].lse[at]; !isinf(own))
          value +=
              expf(own - max) / sum * load(p.parts[part].out, offset(p.parts[part].out) + column);
      store(p.out, offset(p.out) + column, empty ? 0 : value * kept);
    }
    __syncthreads();
    if (threadIdx.x == 0)
      p.lse[at] = empty ? __builtin_huge_valf() : lse;
  }
}

}  // namespace flashmla::sm90::merge
