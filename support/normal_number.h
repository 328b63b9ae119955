// The numbers of fill_normal(), one at a time: the same on the host and, compiled by nvcc, on a
// GPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "support/random.h"

namespace flashmla::support {

// Positions are numbered within chunks of this size, so that 32-bit arithmetic suffices inside one.
inline constexpr std::size_t normal_chunk = std::size_t{1} << 20;

constexpr std::uint64_t normal_chunk_key(std::uint64_t key, std::size_t chunk) {
  return key_of(key, chunk);
}

// Number `i` of the chunk whose key has these halves: the sum of four uniform 16-bit numbers,
// shifted and scaled.
constexpr float normal_number(std::uint32_t i, std::uint32_t low, std::uint32_t high) {
  constexpr std::int32_t mean = 2 * 65535;
  // Variance of a uniform 16-bit number is (2³² − 1) / 12; the root of four times that.
  constexpr auto scale = static_cast<float>(1.0 / 37837.2276);
  std::uint32_t x = i ^ low;
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x += high;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  std::uint32_t y = x * 0x9e3779b1u;
  y ^= y >> 15;
  y *= 0xc2b2ae35u;
  y ^= y >> 16;
  const std::uint32_t sum = (x & 0xffff) + (x >> 16) + (y & 0xffff) + (y >> 16);
  return static_cast<float>(static_cast<std::int32_t>(sum) - mean) * scale;
}

}  // namespace flashmla::support
