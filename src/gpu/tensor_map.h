// Tensor maps, which describe a tensor and the boxes of it that the copy engine (TMA) copies.
#pragma once

#include <cuda.h>

#include <array>
#include <cstdint>

#include "flashmla/dtype.h"

namespace flashmla::gpu {

// A tensor of rank 5 with 16-bit elements. Dimension 0 is the fastest one, and it is contiguous.
struct TensorMapShape {
  const void* data;                           // aligned to 16 bytes
  DType type;                                 // bf16 or fp16
  std::array<std::uint64_t, 5> size;          // in elements
  std::array<std::uint64_t, 4> stride_bytes;  // of dimensions 1 … 4, multiples of 16
  std::array<std::uint32_t, 5> box;  // in elements; box[0] is 64: 128 bytes, which are swizzled

  friend bool operator==(const TensorMapShape&, const TensorMapShape&) = default;
};

// Returns the tensor map of a shape. Maps are kept, because the layers of a model use the same
// tensors in every step. Any number of threads may call the function. It allocates nothing. Throws
// Error (device_failure) where the driver refuses the shape.
CUtensorMap make_tensor_map(const TensorMapShape& shape);

}  // namespace flashmla::gpu
