// Whether tensors are aligned for loads and stores of 16 bytes.
#pragma once

#include <cstdint>

#include "flashmla/tensor_view.h"

namespace flashmla::gpu {

inline constexpr std::int64_t wide_bytes = 16;  // bytes of the widest load and store

// Whether every row (last dimension) begins at a multiple of 16 bytes.
inline bool rows_aligned(const TensorView& tensor) {
  if (reinterpret_cast<std::uintptr_t>(tensor.data) % wide_bytes != 0)
    return false;
  const std::int64_t elements = wide_bytes / static_cast<std::int64_t>(size_of(tensor.dtype));
  for (int d = 0; d + 1 < tensor.rank; ++d)
    if (tensor.shape[d] > 1 && tensor.strides[d] % elements != 0)
      return false;
  return true;
}

}  // namespace flashmla::gpu
