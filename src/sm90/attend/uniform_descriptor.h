// Descriptors of wgmma that the compiler keeps in uniform registers.
#pragma once

#include <cstdint>

#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::attend {

// A descriptor that all threads of the warp hold. NOTE: one that the compiler does not know to be
// uniform costs registers and moves.
FLASHMLA_DEVICE std::uint64_t uniform_descriptor(std::uint64_t descriptor) {
  const std::uint32_t low = ptx::uniform(static_cast<std::uint32_t>(descriptor));
  return (descriptor & 0xFFFFFFFF00000000ull) | low;
}

}  // namespace flashmla::sm90::attend
