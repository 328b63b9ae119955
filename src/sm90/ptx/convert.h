// Conversions of 8-bit floating-point numbers.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ptx {

// Two e4m3 numbers, in the low 16 bits, to fp16. This is exact; NaN stays NaN.
FLASHMLA_DEVICE std::uint32_t e4m3_to_half2(std::uint32_t pair) {
  std::uint32_t halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(static_cast<std::uint16_t>(pair)));
  return halves;
}

// Chooses the bytes of a word. Each hexadecimal digit of `selector` names a byte of `word`; with 8
// added, all bits of the result's byte are the sign of that byte.
FLASHMLA_DEVICE std::uint32_t choose_bytes(std::uint32_t word, std::uint32_t selector) {
  std::uint32_t chosen;
  asm("prmt.b32 %0, %1, 0, %2;" : "=r"(chosen) : "r"(word), "r"(selector));
  return chosen;
}

// Products of two pairs of bf16 numbers, rounded once. Subnormal numbers are kept.
FLASHMLA_DEVICE std::uint32_t multiply_bf16x2(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(product) : "r"(a), "r"(b));
  return product;
}

}  // namespace flashmla::sm90::ptx
