// Loading single rows of 16-bit elements from global memory into swizzled chunks. A warp does it.
#pragma once

#include <cstdint>

#include "sm90/ptx/load_store.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::ops {

// Reads one unit of 16 bytes, or zeros where `wanted` is false. Rows that do not begin at a
// multiple of 16 bytes are read element by element.
FLASHMLA_DEVICE uint4 read_unit(const std::uint16_t* source, bool wanted, bool aligned) {
  if (!wanted)
    return {0, 0, 0, 0};
  if (aligned)
    return __ldg(reinterpret_cast<const uint4*>(source));
  std::uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    words[i] = __ldg(source + 2 * i) | static_cast<std::uint32_t>(__ldg(source + 2 * i + 1)) << 16;
  return {words[0], words[1], words[2], words[3]};
}

// Copies one unit to shared memory in the same way.
FLASHMLA_DEVICE void load_unit(std::uint32_t target, const std::uint16_t* source, bool wanted,
                               bool aligned) {
  if (aligned)
    ptx::copy_async(target, source, wanted);
  else
    ptx::store_shared(target, read_unit(source, wanted, false));
}

}  // namespace flashmla::sm90::ops
