// Writing rows of results from the registers of a wgmma accumulator: the four threads of a quad
// exchange what they hold, so that each writes 16 contiguous bytes.
#pragma once

#include <cstdint>

#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::ops {

// Transposes 4 × 4 words among the threads of a quad: thread t gives words 0 … 3 and receives word
// t of threads 0 … 3.
FLASHMLA_DEVICE uint4 transpose_in_quad(std::uint32_t w0, std::uint32_t w1, std::uint32_t w2,
                                        std::uint32_t w3) {
  const bool odd = (threadIdx.x & 1) != 0;
  const bool upper = (threadIdx.x & 2) != 0;
  const std::uint32_t a = __shfl_xor_sync(0xffffffffu, odd ? w0 : w1, 1);
  const std::uint32_t b = __shfl_xor_sync(0xffffffffu, odd ? w2 : w3, 1);
  const uint2 low = odd ? uint2{a, w1} : uint2{w0, a};
  const uint2 high = odd ? uint2{b, w3} : uint2{w2, b};
  const std::uint32_t c = __shfl_xor_sync(0xffffffffu, upper ? low.x : high.x, 2);
  const std::uint32_t d = __shfl_xor_sync(0xffffffffu, upper ? low.y : high.y, 2);
  return upper ? uint4{c, d, high.x, high.y} : uint4{low.x, low.y, c, d};
}

FLASHMLA_DEVICE void store_unit(std::uint16_t* target, const uint4& unit, bool aligned) {
  if (aligned) {
    *reinterpret_cast<uint4*>(target) = unit;
    return;
  }
  const std::uint32_t words[4] = {unit.x, unit.y, unit.z, unit.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    target[2 * i] = static_cast<std::uint16_t>(words[i]);
    target[2 * i + 1] = static_cast<std::uint16_t>(words[i] >> 16);
  }
}

}  // namespace flashmla::sm90::ops
