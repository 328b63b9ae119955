// bf16 and fp16 for tests and tools, written independently of the library's own codecs. Rounding is
// to nearest, ties to even; numbers beyond the type's range become infinite; a NaN stays a NaN.
#pragma once

#include <cstdint>
#include <span>

#include "flashmla/dtype.h"

namespace flashmla::support {

float bf16_to_float(std::uint16_t bits);
std::uint16_t float_to_bf16(float value);
float fp16_to_float(std::uint16_t bits);
std::uint16_t float_to_fp16(float value);

// `type` is bf16 or fp16; both spans have the same length.
void decode(DType type, std::span<const std::uint16_t> bits, std::span<float> values);
void encode(DType type, std::span<const float> values, std::span<std::uint16_t> bits);

// What remains of the values after being stored in `type`.
void round_through(DType type, std::span<float> values);

}  // namespace flashmla::support
