// Tensor maps for tests of the copy engine, made here without the library.
#pragma once

#include <cuda.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "support/device/cuda_call.h"

namespace flashmla::sm90::test {

// 16-bit numbers [pages][heads][chunks][tokens][64] and boxes of [tokens][64] of as many chunks.
struct CacheShape {
  std::uint64_t tokens;
  std::uint64_t chunks;
  std::uint64_t heads;
  std::uint64_t pages;

  std::uint64_t chunk_elements() const { return tokens * 64; }
  std::uint64_t elements() const { return chunk_elements() * chunks * heads * pages; }
  // Where an element lies.
  std::uint64_t at(std::uint64_t page, std::uint64_t head, std::uint64_t chunk, std::uint64_t token,
                   std::uint64_t column) const {
    return (((page * heads + head) * chunks + chunk) * tokens + token) * 64 + column;
  }
};

// With the 128-byte swizzle. Elements outside of the tensor are read as zeros.
inline CUtensorMap tensor_map(void* data, const CacheShape& shape, std::uint32_t box_tokens,
                              std::uint32_t box_chunks) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  support::cuda_call(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                      cudaEnableDefault, &found),
                     "cudaGetDriverEntryPointByVersion");
  if (found != cudaDriverEntryPointSuccess)
    throw std::runtime_error("the driver has no cuTensorMapEncodeTiled");
  const std::uint64_t chunk_bytes = shape.chunk_elements() * 2;
  const std::array<std::uint64_t, 5> size{64, shape.tokens, shape.chunks, shape.heads, shape.pages};
  const std::array<std::uint64_t, 4> strides{128, chunk_bytes, chunk_bytes * shape.chunks,
                                             chunk_bytes * shape.chunks * shape.heads};
  const std::array<std::uint32_t, 5> box{64, box_tokens, box_chunks, 1, 1};
  const std::array<std::uint32_t, 5> every_element{1, 1, 1, 1, 1};
  CUtensorMap map{};
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 5, data, size.data(), strides.data(), box.data(),
      every_element.data(), CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw std::runtime_error("cuTensorMapEncodeTiled: error " + std::to_string(result));
  return map;
}

// The policy that keeps nothing longer than other data.
inline constexpr std::uint64_t normal_policy = 0x1000000000000000;

}  // namespace flashmla::sm90::test
