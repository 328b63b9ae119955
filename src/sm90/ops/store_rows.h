// Writing rows of results to global memory.
#pragma once

#include <cstdint>

#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::ops {

// Aligned: the target is a multiple of 16 bytes.
template <bool Aligned>
FLASHMLA_DEVICE void store_unit(std::uint16_t* target, const uint4& unit) {
  if constexpr (Aligned) {
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
