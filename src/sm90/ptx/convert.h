// Conversions of FP8 numbers, and arithmetic of packed numbers.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ptx {

// Two e4m3, rounded to nearest even and clamped to ±448, the first one in the low byte. NaN gives
// 0x7f, whatever its sign.
FLASHMLA_DEVICE std::uint16_t pack_e4m3(float low, float high) {
  std::uint16_t packed;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(packed) : "f"(high), "f"(low));
  return packed;
}

// Two e4m3 as two fp16, which hold every e4m3 exactly. The signs of NaN are lost.
FLASHMLA_DEVICE std::uint32_t unpack_e4m3(std::uint16_t packed) {
  std::uint32_t halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(packed));
  return halves;
}

// The same of the upper two of four e4m3.
FLASHMLA_DEVICE std::uint32_t unpack_upper_e4m3(std::uint32_t packed) {
  std::uint32_t halves;
  asm("{\n"
      ".reg .b16 low, high;\n"
      "mov.b32 {low, high}, %1;\n"
      "cvt.rn.f16x2.e4m3x2 %0, high;\n"
      "}"
      : "=r"(halves)
      : "r"(packed));
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

// The larger one of two signed integers of 16 bits, for both halves of a word.
FLASHMLA_DEVICE std::uint32_t max_signed_halves(std::uint32_t a, std::uint32_t b) {
  std::uint32_t larger;
  asm("max.s16x2 %0, %1, %2;" : "=r"(larger) : "r"(a), "r"(b));
  return larger;
}

}  // namespace flashmla::sm90::ptx
