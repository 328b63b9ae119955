// Dequantising: units of 16 e4m3 codes become bf16(code · scale), the product in fp32, rounded once
// (flashmla/kv_format.h).
//
// There are two ways. Both give the same bits where the first one is allowed:
// - *By shifts.* The bits of a code, moved to their places in a bf16 number, are the code's value
//   times 2^−120. One product of bf16 numbers by scale · 2^120 does the rest. This needs a scale of
//   at most 8 significant bits, as powers of two are, and codes that are not NaN.
// - *By conversions*, for any scale and any code.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "sm90/ops/fp8_codec.h"
#include "sm90/ptx/convert.h"
#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::ops {

inline constexpr int unit_codes = 16;

// A scale as both ways need it. The scales of a warp are all for the same way.
struct CodeScale {
  // Whether the way by shifts is allowed: the scale has at most 8 significant bits, scale · 2^120
  // is finite, and no product is so small that it would be rounded twice.
  static FLASHMLA_DEVICE bool fits_shifts(float scale) {
    const float magnitude = fabsf(scale);
    return (__float_as_uint(scale) & 0xffff) == 0 &&
           ((magnitude >= 0x1p-100f && magnitude < 0x1p7f) || magnitude == 0);
  }
  static FLASHMLA_DEVICE std::uint32_t for_shifts(float scale) {
    const float scaled = scale * 0x1p120f;
    return ptx::pack<__nv_bfloat16>(scaled, scaled);
  }
};

// The same of a unit, for each place in its word.
FLASHMLA_DEVICE std::uint32_t find_nan_codes(const uint4& codes) {
  return find_nan_codes(codes.x) | find_nan_codes(codes.y) |
         (find_nan_codes(codes.z) | find_nan_codes(codes.w));
}

// `values` are 16 bf16 numbers in the order of the codes.
FLASHMLA_DEVICE void dequantise_by_shifts(const uint4& codes, std::uint32_t scale,
                                          std::uint32_t (&values)[8]) {
  constexpr std::uint32_t places = 0x87f087f0u;  // sign, exponent and mantissa of both codes
  const std::uint32_t words[4] = {codes.x, codes.y, codes.z, codes.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t low = ptx::choose_bytes(words[i], 0x9180) << 4 & places;
    const std::uint32_t high = ptx::choose_bytes(words[i], 0xb3a2) << 4 & places;
    values[2 * i] = ptx::multiply_bf16x2(low, scale);
    values[2 * i + 1] = ptx::multiply_bf16x2(high, scale);
  }
}

FLASHMLA_DEVICE void dequantise_by_conversions(const uint4& codes, float scale,
                                               std::uint32_t (&values)[8]) {
  const std::uint32_t words[4] = {codes.x, codes.y, codes.z, codes.w};
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 2; ++j)
      values[2 * i + j] = dequantise_pair(words[i] >> 16 * j, scale, scale);
}

}  // namespace flashmla::sm90::ops
