// Quantising one token of an FP8 cache from bf16 elements, and dequantising it.
#pragma once

#include <cstdint>

#include "backends/cpu/cache_slots.h"

namespace flashmla::backends::cpu {

// The scale of a tile of bf16 elements: 2^ceil(log2(max(absmax / 448, 1e-4))), where absmax is the
// largest magnitude of its finite elements.
float tile_scale(const std::uint16_t* elements, std::int64_t count);

// `elements` are d_qk bf16 elements. A token holds e4m3(x / scale), clamped to ±448: an infinity
// becomes ±448, and NaN stays NaN. The eighth scale byte of a v4 token becomes 0.
void quantise_token(KvFormat format, const std::uint16_t* elements, const CachedToken& token);
void dequantise_token(KvFormat format, const CachedToken& token, std::uint16_t* elements);

}  // namespace flashmla::backends::cpu
