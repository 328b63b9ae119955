#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>

#include "support/device/cuda_call.h"
#include "support/device/fill_rows.h"
#include "support/normal_number.h"

namespace flashmla::support {

namespace {

constexpr int threads = 256;

template <bool Half>
__global__ void fill(std::uint16_t* to, std::int64_t columns, const std::uint64_t* keys,
                     std::int64_t rows) {
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const std::uint64_t key = normal_chunk_key(keys[row], 0);
    for (std::int64_t i = threadIdx.x; i < columns; i += threads) {
      const float number =
          normal_number(static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(key),
                        static_cast<std::uint32_t>(key >> 32));
      to[row * columns + i] = Half ? __half_as_ushort(__float2half_rn(number))
                                   : __bfloat16_as_ushort(__float2bfloat16_rn(number));
    }
  }
}

}  // namespace

void launch_fill_rows(std::uint16_t* to, DType type, std::int64_t columns,
                      const std::uint64_t* keys, std::int64_t rows) {
  if (rows == 0)
    return;
  constexpr std::int64_t max_blocks = 1 << 16;
  const auto blocks = static_cast<unsigned>(std::min(max_blocks, rows));
  if (type == DType::fp16)
    fill<true><<<blocks, threads>>>(to, columns, keys, rows);
  else
    fill<false><<<blocks, threads>>>(to, columns, keys, rows);
  cuda_call(cudaGetLastError(), "launch of fill_rows");
}

}  // namespace flashmla::support
