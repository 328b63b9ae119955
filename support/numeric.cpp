#include "support/numeric.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

#include "support/multiversion.h"

namespace flashmla::support {

namespace {

constexpr std::uint32_t sign_bit = 0x80000000u;
constexpr std::uint32_t infinity_bits = 0x7f800000u;

inline float widen_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

inline std::uint16_t narrow_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const std::uint32_t quiet_nan = (bits >> 16) | 0x40u;
  return static_cast<std::uint16_t>((bits & ~sign_bit) > infinity_bits ? quiet_nan : rounded);
}

// The half's exponent and mantissa, moved to their places in a float, name 2⁻¹¹² times its value;
// the product restores it exactly, subnormal halves included.
inline float widen_fp16(std::uint16_t bits) {
  const std::uint32_t magnitude = (bits & 0x7fffu) << 13;
  const auto value = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  const std::uint32_t finite_or_not =
      (bits & 0x7fffu) >= 0x7c00u ? magnitude | infinity_bits : value;
  return std::bit_cast<float>(finite_or_not | (static_cast<std::uint32_t>(bits & 0x8000u) << 16));
}

inline std::uint16_t narrow_fp16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & ~sign_bit;
  // Below 2⁻¹⁴ halves are multiples of 2⁻²⁴, which is what a float in [0.5, 1) can resolve: the
  // addition rounds.
  const std::uint32_t subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
      std::bit_cast<std::uint32_t>(0.5f);
  const std::uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
  std::uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
  half = magnitude >= 0x477ff000u ? 0x7c00u : half;  // 65,520 and above
  half = magnitude > infinity_bits ? 0x7e00u : half;
  return static_cast<std::uint16_t>(half | ((bits & sign_bit) >> 16));
}

FLASHMLA_SUPPORT_MULTIVERSION
void widen_bf16_many(const std::uint16_t* bits, float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    values[i] = widen_bf16(bits[i]);
}

FLASHMLA_SUPPORT_MULTIVERSION
void narrow_bf16_many(const float* values, std::uint16_t* bits, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    bits[i] = narrow_bf16(values[i]);
}

FLASHMLA_SUPPORT_MULTIVERSION
void widen_fp16_many(const std::uint16_t* bits, float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    values[i] = widen_fp16(bits[i]);
}

FLASHMLA_SUPPORT_MULTIVERSION
void narrow_fp16_many(const float* values, std::uint16_t* bits, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    bits[i] = narrow_fp16(values[i]);
}

}  // namespace

float bf16_to_float(std::uint16_t bits) {
  return widen_bf16(bits);
}
std::uint16_t float_to_bf16(float value) {
  return narrow_bf16(value);
}
float fp16_to_float(std::uint16_t bits) {
  return widen_fp16(bits);
}
std::uint16_t float_to_fp16(float value) {
  return narrow_fp16(value);
}

void decode(DType type, std::span<const std::uint16_t> bits, std::span<float> values) {
  (type == DType::fp16 ? widen_fp16_many : widen_bf16_many)(bits.data(), values.data(),
                                                            bits.size());
}

void encode(DType type, std::span<const float> values, std::span<std::uint16_t> bits) {
  (type == DType::fp16 ? narrow_fp16_many : narrow_bf16_many)(values.data(), bits.data(),
                                                              values.size());
}

void round_through(DType type, std::span<float> values) {
  std::array<std::uint16_t, 256> bits;
  for (std::size_t first = 0; first < values.size(); first += bits.size()) {
    const std::span part = values.subspan(first, std::min(bits.size(), values.size() - first));
    const std::span stored = std::span(bits).first(part.size());
    encode(type, part, stored);
    decode(type, stored, part);
  }
}

}  // namespace flashmla::support
