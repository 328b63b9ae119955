// Contiguous tensors as .npy files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "flashmla/tensor_view.h"
#include "support/numeric.h"
#include "tools/npy.h"

namespace flashmla::tools {

inline std::vector<std::int64_t> shape_of(const TensorView& view) {
  return {view.shape.begin(), view.shape.begin() + view.rank};
}

// A bf16 or fp16 tensor as float32.
inline std::string halves_npy(const TensorView& view) {
  const auto count = static_cast<std::size_t>(view.element_count());
  std::vector<float> values(count);
  support::decode(view.dtype, {static_cast<const std::uint16_t*>(view.data), count}, values);
  return npy_bytes(values, shape_of(view));
}

template <class T>
std::string numbers_npy(const TensorView& view) {
  const auto count = static_cast<std::size_t>(view.element_count());
  return npy_bytes(std::span(static_cast<const T*>(view.data), count), shape_of(view));
}

}  // namespace flashmla::tools
