// Tensor maps: what the copy engine has to know of a tensor and of the boxes that it copies.
#pragma once

#include <cuda.h>

#include <array>
#include <cstdint>

#include "flashmla/dtype.h"

namespace flashmla::gpu {

// A tensor of rank 5 with 16-bit numbers, fastest dimension first, which is contiguous.
struct TensorMapShape {
  const void* data;  // aligned to 16 bytes
  DType type;        // bf16 or fp16
  std::array<std::uint64_t, 5> size;
  std::array<std::uint64_t, 4> stride_bytes;  // of dimensions 1 … 4, multiples of 16
  std::array<std::uint32_t, 5> box;           // box[0] is 64 numbers: 128 bytes, swizzled

  friend bool operator==(const TensorMapShape&, const TensorMapShape&) = default;
};

// A map that was made lately is not made again: the layers of a model come back with the same
// tensors every step. From any number of threads at once; allocates nothing. Throws Error
// (device_failure) where the driver does not take the shape.
CUtensorMap make_tensor_map(const TensorMapShape& shape);

}  // namespace flashmla::gpu
