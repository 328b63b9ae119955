// The scale of a tile of an FP8 cache, from the largest magnitude of the tile, and what the scales
// of each format are as numbers. Plain integer arithmetic.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ops {

// Magnitudes of two bf16 as signed halves of a word, in their order. An infinity or NaN becomes
// negative, so that a maximum that begins with these halves of 0 passes over it.
inline constexpr std::uint32_t magnitudes_of_zeros = 0x00800080u;

FLASHMLA_DEVICE std::uint32_t ordered_magnitudes(std::uint32_t pair) {
  return (pair & 0x7fff7fffu) + magnitudes_of_zeros;
}

// Byte s of e8m0, which is 2^(s − 127), of the scale 2^ceil(log2(max(absmax / 448, 1e-4))).
// `ordered` is the ordered magnitude of absmax. 448 is 1.75 · 2^8: the quotient is in (0.5, 1] ·
// 2^(e − 8) where the mantissa of absmax is at most 1.75, and else in (1, 2) · 2^(e − 8). The
// smallest scale is 2^−13.
FLASHMLA_DEVICE std::uint32_t scale_byte(std::uint32_t ordered) {
  constexpr std::uint32_t smallest = 127 - 13;
  constexpr std::uint32_t above_mantissa = 0x7f - 0x60;  // carries where the mantissa exceeds 0x60
  const std::uint32_t exponent = (ordered - 0x80u + above_mantissa) >> 7;
  return exponent < smallest + 8 ? smallest : exponent - 8;
}

// The bits of an fp32 scale of 2^(byte − 127), and of its reciprocal. `byte` is one that
// scale_byte() gives, so that both are normal numbers.
FLASHMLA_DEVICE std::uint32_t power_of_two_bits(std::uint32_t byte) {
  return byte << 23;
}
FLASHMLA_DEVICE std::uint32_t reciprocal_bits(std::uint32_t byte) {
  return (254 - byte) << 23;
}

// The bits of any e8m0 as fp32. 0 is 2^−127, a subnormal number, and 255 is NaN.
FLASHMLA_DEVICE std::uint32_t e8m0_bits(std::uint32_t byte) {
  if (byte == 0xff)
    return 0x7fc00000u;
  return byte == 0 ? 0x00400000u : byte << 23;
}

}  // namespace flashmla::sm90::ops
