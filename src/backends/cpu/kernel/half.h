// Conversions of bf16 and fp16 rows to fp32 scratch memory and back. Pair-split order (table.h)
// saves the shuffles. Conversions round to nearest even, and NaN stays NaN. Their bits are those of
// core/numeric.h, which converts single elements.
#pragma once

#include "backends/cpu/kernel/vector.h"

namespace flashmla::backends::cpu::FLASHMLA_CPU_ISA {

struct Bf16 {
  static Floats from_low(Words word) { return (Floats)(word << 16); }
  static Floats from_high(Words word) { return (Floats)(word & 0xffff0000u); }

  static Words rounded(Floats value) {  // the result is in the upper half of each word
    const Words bits = (Words)value;
    const Words nan = (Words)(value != value);
    const Words even = bits + 0x7fffu + ((bits >> 16) & 1u);
    return (even & ~nan) | ((bits | 0x00400000u) & nan);
  }
  static Words pack(Floats low, Floats high) {
    return (rounded(low) >> 16) | (rounded(high) & 0xffff0000u);
  }
};

struct Fp16 {
  static Floats from_bits(Words half) {
    const Words magnitude = half & 0x7fffu;
    const Words normal = (magnitude << 13) + (112u << 23);  // the exponent bias 15 becomes 127
    const Words infinite = normal | 0x7f800000u;
    // A subnormal code m is m · 2^−24, and the last bit of 0.5 is worth 2^−24.
    const Floats half_one = broadcast(0.5f);
    const Words subnormal = (Words)((Floats)((Words)half_one + magnitude) - half_one);
    Words bits = (Ints)magnitude < 0x0400 ? subnormal : normal;
    bits = (Ints)magnitude >= 0x7c00 ? infinite : bits;
    return (Floats)(bits | ((half & 0x8000u) << 16));
  }
  static Floats from_low(Words word) { return from_bits(word & 0xffffu); }
  static Floats from_high(Words word) { return from_bits(word >> 16); }

  static Words rounded(Floats value) {  // the result is in the lower half of each word
    const Words bits = (Words)value;
    const Ints magnitude = (Ints)(bits & 0x7fffffffu);
    const Words normal =
        ((Words)magnitude - (112u << 23) + 0xfffu + (((Words)magnitude >> 13) & 1u)) >> 13;
    // The sum with 0.5 is rounded to nearest even, in units of 2^−24.
    const Floats half_one = broadcast(0.5f);
    const Words subnormal = (Words)((Floats)magnitude + half_one) - (Words)half_one;
    Words result = magnitude < 0x38800000 ? subnormal : normal;     // below 2^−14
    result = magnitude >= 0x477ff000 ? Words{} + 0x7c00u : result;  // 65,520 and above
    const Words nan = 0x7e00u | (((Words)magnitude >> 13) & 0x03ffu);
    result = magnitude > 0x7f800000 ? nan : result;
    return result | ((bits >> 16) & 0x8000u);
  }
  static Words pack(Floats low, Floats high) { return rounded(low) | (rounded(high) << 16); }
};

template <class Half>
void load_row(const void* source, float* target, std::int32_t count, float factor) {
  const auto* elements = static_cast<const std::uint16_t*>(source);
  const Floats scale = broadcast(factor);
  for (int i = 0; i < count; i += 2 * lanes) {
    const Words words = load<Words>(elements + i);
    store(target + i, Half::from_low(words) * scale);
    store(target + i + lanes, Half::from_high(words) * scale);
  }
}

template <class Half>
void store_row(const float* source, void* target, std::int32_t count, float factor) {
  auto* elements = static_cast<std::uint16_t*>(target);
  const Floats scale = broadcast(factor);
  for (int i = 0; i < count; i += 2 * lanes)
    store(elements + i, Half::pack(load(source + i) * scale, load(source + i + lanes) * scale));
}

}  // namespace flashmla::backends::cpu::FLASHMLA_CPU_ISA
