// Conversions between fp32 and the bit patterns of bf16, fp16 and FP8, bit exact with those of a
// GPU. They round to nearest even and keep subnormals. Overflow gives infinity; e4m3 has no
// infinity, so it gives the largest number there. NaN stays NaN: it becomes quiet and keeps its
// sign.
#pragma once

#include <bit>
#include <cstdint>

namespace flashmla {

constexpr float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

constexpr std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value != value)
    return static_cast<std::uint16_t>((bits >> 16) | 0x0040u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

constexpr float fp16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t magnitude = bits & 0x7fffu;
  if (magnitude < 0x0400u) {  // subnormal: units of 2^−24
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
  }
  const std::uint32_t exponent_shift = magnitude >= 0x7c00u ? 255u - 31u : 127u - 15u;
  return std::bit_cast<float>(sign | ((magnitude << 13) + (exponent_shift << 23)));
}

constexpr std::uint16_t float_to_fp16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  std::uint32_t half;
  if (magnitude > 0x7f800000u)
    half = 0x7e00u | ((magnitude >> 13) & 0x03ffu);
  else if (magnitude >= 0x477ff000u)  // 65,520, halfway between the largest number and the next one
    half = 0x7c00u;
  else if (magnitude >= 0x38800000u)  // 2^−14, the smallest normal number
    half = (magnitude - (112u << 23) + 0x0fffu + ((magnitude >> 13) & 1u)) >> 13;
  else  // the last bit of 0.5 is worth 2^−24, so the addition rounds to a subnormal number
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  return static_cast<std::uint16_t>(sign | half);
}

// e4m3 is float8_e4m3fn: exponent bias 7, three bits of mantissa, largest number 448, no infinity.
// 0x7f and 0xff are NaN.
inline constexpr float largest_e4m3 = 448.0f;

constexpr float e4m3_to_float(std::uint8_t bits) {
  const std::uint32_t sign = (bits & 0x80u) << 24;
  const std::uint32_t magnitude = bits & 0x7fu;
  if (magnitude < 0x08u) {  // subnormal: units of 2^−9
    const float value = static_cast<float>(magnitude) * 0x1p-9f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
  }
  const std::uint32_t number = (magnitude << 20) + ((127u - 7u) << 23);
  return std::bit_cast<float>(sign | (magnitude == 0x7fu ? 0x7fc00000u : number));
}

// Numbers beyond ±448 become ±448.
constexpr std::uint8_t float_to_e4m3(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 24) & 0x80u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  std::uint32_t code;
  if (magnitude > 0x7f800000u)
    code = 0x7fu;
  else if (magnitude >= std::bit_cast<std::uint32_t>(largest_e4m3))
    code = 0x7eu;
  else if (magnitude >= 0x3c800000u)  // 2^−6, the smallest normal number
    code = (magnitude - (120u << 23) + 0x7ffffu + ((magnitude >> 20) & 1u)) >> 20;
  else  // the last bit of 2^14 is worth 2^−9, so the addition rounds to a subnormal number
    code = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0x1p14f) -
           std::bit_cast<std::uint32_t>(0x1p14f);
  return static_cast<std::uint8_t>(sign | code);
}

// e8m0 is 2^(bits − 127), and 255 is NaN. So 0 is 2^−127 and not zero.
constexpr float e8m0_to_float(std::uint8_t bits) {
  if (bits == 0xffu)
    return std::bit_cast<float>(0x7fc00000u);
  const std::uint32_t number = std::uint32_t{bits} << 23;
  return std::bit_cast<float>(bits == 0 ? 0x00400000u : number);
}

}  // namespace flashmla
