// One token of an FP8 cache: quantised from bf16 numbers, and back.
#pragma once

#include <cstdint>

#include "backends/cpu/cache_slots.h"

namespace flashmla::backends::cpu {

// The scale of a tile: 2^ceil(log2(max(absmax / 448, 1e-4))), absmax over its finite numbers.
float tile_scale(const std::uint16_t* numbers, std::int64_t count);

// `numbers` are d_qk bf16 numbers. Value = e4m3(x / scale) clamped to ±448, so that an infinity
// becomes the tile's largest number; NaN stays NaN. The eighth scale byte of a v4 token becomes 0.
void quantise_token(KvFormat format, const std::uint16_t* numbers, const CachedToken& token);
void dequantise_token(KvFormat format, const CachedToken& token, std::uint16_t* numbers);

}  // namespace flashmla::backends::cpu
