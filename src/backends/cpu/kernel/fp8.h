// Converts tiles of e4m3 elements to fp32 scratch memory in pair-split order (table.h). The formats
// define the value bf16(e4m3 · scale). core/numeric.h has the same conversion for single elements.
#pragma once

#include "backends/cpu/kernel/half.h"
#include "backends/cpu/kernel/vector.h"

namespace flashmla::backends::cpu::FLASHMLA_CPU_ISA {

// A lane of 16 bits holds two elements of one byte.
typedef std::uint16_t Pairs __attribute__((vector_size(vector_bytes / 2)));

// The values of the e4m3 codes in the low bytes of the words.
inline Floats from_e4m3(Words code) {
  const Words magnitude = code & 0x7fu;
  const Words normal = (magnitude << 20) + (120u << 23);  // the exponent bias 7 becomes 127
  // A subnormal code m is m · 2^−9, and the last bit of 2^14 is worth 2^−9.
  const Floats unit = broadcast(0x1p14f);
  const Words subnormal = (Words)((Floats)((Words)unit + magnitude) - unit);
  Words bits = (Ints)magnitude < 0x08 ? subnormal : normal;
  bits = (Ints)magnitude == 0x7f ? Words{} + 0x7fc00000u : bits;
  return (Floats)(bits | ((code & 0x80u) << 24));
}

inline void load_e4m3(const void* source, float* target, std::int32_t count, float scale) {
  const auto* codes = static_cast<const std::uint8_t*>(source);
  const Floats factor = broadcast(scale);
  const auto dequantised = [&](Words code) {
    return (Floats)(Bf16::rounded(from_e4m3(code) * factor) & 0xffff0000u);
  };
  for (int i = 0; i < count; i += 2 * lanes) {
    const Words pairs = __builtin_convertvector(load<Pairs>(codes + i), Words);
    store(target + i, dequantised(pairs & 0xffu));
    store(target + i + lanes, dequantised(pairs >> 8));
  }
}

}  // namespace flashmla::backends::cpu::FLASHMLA_CPU_ISA
