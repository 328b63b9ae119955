// Random operands for tests of the device.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "flashmla/dtype.h"
#include "support/numeric.h"
#include "support/random.h"

namespace flashmla::sm90::test {

template <class T>
inline constexpr DType type_of = std::is_same_v<T, __nv_bfloat16> ? DType::bf16 : DType::fp16;

// Numbers of variance 1 around a mean: an element that is taken twice, or not at all, then shows in
// sums as well.
inline std::vector<float> drawn_floats(std::size_t count, float mean, std::uint64_t key) {
  std::vector<float> values(count);
  support::fill_normal(values, key);
  for (float& value : values)
    value += mean;
  return values;
}

// The same as 16-bit numbers.
template <class T>
std::vector<std::uint16_t> drawn(std::size_t count, float mean, std::uint64_t key) {
  std::vector<std::uint16_t> bits(count);
  support::encode(type_of<T>, drawn_floats(count, mean, key), bits);
  return bits;
}

template <class T>
std::vector<float> decoded(const std::vector<std::uint16_t>& bits) {
  std::vector<float> values(bits.size());
  support::decode(type_of<T>, bits, values);
  return values;
}

}  // namespace flashmla::sm90::test
