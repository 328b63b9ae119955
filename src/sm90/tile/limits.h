// The limits of a multiprocessor, and where the shared memory of a CTA begins.
#pragma once

#include <cstdint>

#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::tile {

// The largest shared memory of a CTA, static and dynamic together.
inline constexpr std::uint32_t max_shared_bytes = 227 * 1024;

// Dynamic shared memory begins at this address where a kernel has no static shared memory. The
// memory below belongs to the system. The address is a multiple of 1,024, which swizzled chunks
// need. A kernel that uses it as a constant keeps addresses and descriptors out of registers. Such
// a kernel checks the address at its start.
inline constexpr std::uint32_t shared_start = 1024;

// The bits of a shared address that are the same in each CTA of a cluster. Bits 24 and up name the
// CTA.
inline constexpr std::uint32_t address_in_cta = 0xFFFFFF;

inline constexpr int registers = 64 * 1024;

// The registers of each thread where one CTA of `threads` threads has all registers of a
// multiprocessor. A thread gets a multiple of eight.
FLASHMLA_TILE_FUNCTION int registers_of_thread(int threads) {
  return registers / threads / 8 * 8;
}

}  // namespace flashmla::sm90::tile
