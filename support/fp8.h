// The FP8 formats for tests and tools, written independently of the library's codecs: numbers by
// tables and searches, a token's bytes by a plain list of its parts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "flashmla/kv_format.h"

namespace flashmla::support {

float e4m3_to_float(std::uint8_t bits);
std::uint8_t float_to_e4m3(float value);  // nearest, ties to even, clamped to ±448
float e8m0_to_float(std::uint8_t bits);

// How the scale of a tile follows from its numbers.
enum class ScaleRule {
  power_of_two,        // 2^ceil(log2(max(absmax / 448, 1e-4))): what the library writes
  power_of_two_floor,  // v4: 2^ceil(log2(max(absmax, 1e-4) / 448))
  exact,               // v32: absmax / 448 as it is; 0 for a tile of zeros
};

// One token apart from its place in memory.
struct Fp8Token {
  std::vector<std::uint8_t> latent;   // e4m3
  std::vector<float> scales;          // one for each tile
  std::vector<std::uint16_t> rotary;  // [64] bf16
};

// `numbers` are the d_qk bf16 numbers of the token.
Fp8Token quantise_token(KvFormat format, std::span<const std::uint16_t> numbers, ScaleRule rule);

// The d_qk numbers bf16(e4m3 · scale), as they come out of the cache.
std::vector<std::uint16_t> dequantise_token(const Fp8Token& token);

// The same numbers without rounding: e4m3 · scale.
std::vector<float> products_of(const Fp8Token& token);

// Writes token `index` of a page of `page_size` tokens, and reads it. The eighth scale byte of a v4
// token is left alone.
void store_token(KvFormat format, const Fp8Token& token, std::int64_t index, std::int64_t page_size,
                 std::byte* page);
Fp8Token fetch_token(KvFormat format, std::int64_t index, std::int64_t page_size,
                     const std::byte* page);

}  // namespace flashmla::support
