// Quantising eight bf16 elements of an FP8 cache, and dequantising them: bit by bit what
// core/numeric.h computes on the host.
#pragma once

#include <cstdint>

#include "sm90/ops/tile_scale.h"
#include "sm90/ptx/convert.h"
#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::ops {

// The ordered magnitude of the largest finite one of eight elements.
FLASHMLA_DEVICE std::uint32_t largest_magnitude(const uint4& elements) {
  std::uint32_t largest = magnitudes_of_zeros;
  for (const std::uint32_t pair : {elements.x, elements.y, elements.z, elements.w})
    largest = ptx::max_signed_halves(largest, ordered_magnitudes(pair));
  return max(largest & 0xffffu, largest >> 16);
}

// Four bf16 as e4m3(x · factor). The factor is a power of two, so that the product is exact, or so
// small that e4m3 has 0 for it. NaN keeps its sign.
FLASHMLA_DEVICE std::uint32_t quantise_four(std::uint32_t low, std::uint32_t high, float factor) {
  const float2 a = ptx::unpack<__nv_bfloat16>(low);
  const float2 b = ptx::unpack<__nv_bfloat16>(high);
  const std::uint32_t codes = ptx::pack_e4m3(a.x * factor, a.y * factor) |
                              static_cast<std::uint32_t>(ptx::pack_e4m3(b.x * factor, b.y * factor))
                                  << 16;
  return codes | (__byte_perm(low, high, 0x7531) & 0x80808080u);
}

FLASHMLA_DEVICE uint2 quantise(const uint4& elements, float factor) {
  return {quantise_four(elements.x, elements.y, factor),
          quantise_four(elements.z, elements.w, factor)};
}

// Of four e4m3: bits 7, 15, 23 and 31 of the result are 1 where the code there is NaN, 0x7f or
// 0xff.
FLASHMLA_DEVICE std::uint32_t find_nan_codes(std::uint32_t codes) {
  return (codes & 0x7f7f7f7fu) + 0x01010101u;
}
FLASHMLA_DEVICE bool has_nan_codes(std::uint32_t found) {
  return (found & 0x80808080u) != 0;
}

// A product of bf16, but for NaN with the sign of its code. NaN that comes from the scale is
// positive.
FLASHMLA_DEVICE std::uint32_t with_sign_of_nan(std::uint32_t product, std::uint32_t code) {
  if ((product & 0x7fffu) <= 0x7f80u)
    return product;
  return (code & 0x7fu) == 0x7fu ? 0x7fc0u | (code & 0x80u) << 8 : 0x7fc0u;
}

// Two e4m3 in the low half of `codes`, times a scale of each: the products in fp32, rounded once to
// bf16.
FLASHMLA_DEVICE std::uint32_t dequantise_pair(std::uint32_t codes, float low_scale,
                                              float high_scale) {
  const float2 values = ptx::unpack<__half>(ptx::unpack_e4m3(static_cast<std::uint16_t>(codes)));
  return ptx::pack<__nv_bfloat16>(values.x * low_scale, values.y * high_scale);
}

FLASHMLA_DEVICE uint2 dequantise_four(std::uint32_t codes, float scale) {
  uint2 products{dequantise_pair(codes, scale, scale), dequantise_pair(codes >> 16, scale, scale)};
  constexpr std::uint32_t infinity = 0x7f800000u;
  if (has_nan_codes(find_nan_codes(codes)) || (__float_as_uint(scale) & infinity) == infinity) {
    products.x = with_sign_of_nan(products.x & 0xffffu, codes) |
                 with_sign_of_nan(products.x >> 16, codes >> 8) << 16;
    products.y = with_sign_of_nan(products.y & 0xffffu, codes >> 16) |
                 with_sign_of_nan(products.y >> 16, codes >> 24) << 16;
  }
  return products;
}

FLASHMLA_DEVICE uint4 dequantise(const uint2& codes, float scale) {
  const uint2 low = dequantise_four(codes.x, scale);
  const uint2 high = dequantise_four(codes.y, scale);
  return {low.x, low.y, high.x, high.y};
}

}  // namespace flashmla::sm90::ops
