// What a multiprocessor has, and where the shared memory of a CTA begins.
#pragma once

#include <cstdint>

#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::tile {

// The most that a CTA can have, static and dynamic.
inline constexpr std::uint32_t max_shared_bytes = 227 * 1024;

// Dynamic shared memory begins at this address where a kernel has no static one: what lies below
// belongs to the system. It is a multiple of 1,024, as swizzled chunks need it. A kernel that takes
// it as a constant keeps addresses and descriptors out of registers. It checks at its start that
// the address is this one.
inline constexpr std::uint32_t shared_start = 1024;

// The part of a shared address that is the same in each CTA of a cluster; bits 24 and up name the
// CTA.
inline constexpr std::uint32_t address_in_cta = 0xFFFFFF;

inline constexpr int registers = 64 * 1024;

// Registers of each of the threads, where one CTA of so many has all registers: they are dealt out
// in steps of eight.
FLASHMLA_TILE_FUNCTION int registers_of_thread(int threads) {
  return registers / threads / 8 * 8;
}

}  // namespace flashmla::sm90::tile
