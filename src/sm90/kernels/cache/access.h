// Loads and stores of tokens: wide ones where tensors are aligned, else element by element.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::cache {

// `wide`: rows begin at multiples of 16 bytes and have a multiple of 8 elements, and so do the
// cached rows of a plain format. Pages of an FP8 format begin at multiples of 8 bytes.
template <bool wide>
struct Access {
  // Eight elements of 16 bits.
  static FLASHMLA_DEVICE uint4 load_elements(const std::byte* from) {
    return *reinterpret_cast<const uint4*>(from);
  }
  static FLASHMLA_DEVICE void store_elements(std::byte* to, const uint4& elements) {
    *reinterpret_cast<uint4*>(to) = elements;
  }

  // Bytes of a cached token of an FP8 format: eight, or the four of a scale.
  static FLASHMLA_DEVICE uint2 load_bytes(const std::byte* from) {
    return *reinterpret_cast<const uint2*>(from);
  }
  static FLASHMLA_DEVICE void store_bytes(std::byte* to, const uint2& bytes) {
    *reinterpret_cast<uint2*>(to) = bytes;
  }
  static FLASHMLA_DEVICE std::uint32_t load_word(const std::byte* from) {
    return *reinterpret_cast<const std::uint32_t*>(from);
  }
  static FLASHMLA_DEVICE void store_word(std::byte* to, std::uint32_t word) {
    *reinterpret_cast<std::uint32_t*>(to) = word;
  }
};

template <>
struct Access<false> {
  static FLASHMLA_DEVICE std::uint32_t load_pair(const std::byte* from) {
    const auto* elements = reinterpret_cast<const std::uint16_t*>(from);
    return elements[0] | static_cast<std::uint32_t>(elements[1]) << 16;
  }
  static FLASHMLA_DEVICE void store_pair(std::byte* to, std::uint32_t pair) {
    auto* elements = reinterpret_cast<std::uint16_t*>(to);
    elements[0] = static_cast<std::uint16_t>(pair);
    elements[1] = static_cast<std::uint16_t>(pair >> 16);
  }

  static FLASHMLA_DEVICE uint4 load_elements(const std::byte* from) {
    return {load_pair(from), load_pair(from + 4), load_pair(from + 8), load_pair(from + 12)};
  }
  static FLASHMLA_DEVICE void store_elements(std::byte* to, const uint4& elements) {
    store_pair(to, elements.x);
    store_pair(to + 4, elements.y);
    store_pair(to + 8, elements.z);
    store_pair(to + 12, elements.w);
  }

  static FLASHMLA_DEVICE std::uint32_t load_word(const std::byte* from) {
    std::uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      word |= static_cast<std::uint32_t>(from[i]) << 8 * i;
    return word;
  }
  static FLASHMLA_DEVICE void store_word(std::byte* to, std::uint32_t word) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      to[i] = static_cast<std::byte>(word >> 8 * i);
  }
  static FLASHMLA_DEVICE uint2 load_bytes(const std::byte* from) {
    return {load_word(from), load_word(from + 4)};
  }
  static FLASHMLA_DEVICE void store_bytes(std::byte* to, const uint2& bytes) {
    store_word(to, bytes.x);
    store_word(to + 4, bytes.y);
  }
};

}  // namespace flashmla::sm90::cache
