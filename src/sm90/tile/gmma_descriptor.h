// The descriptors of wgmma operands in shared memory: start address and two strides, all in units
// of 16 bytes, and the kind of swizzle.
#pragma once

#include <cstdint>

#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::tile {

// Groups of 8 rows (1,024 bytes), 128-byte swizzle.
inline constexpr std::uint64_t descriptor_base =
    (std::uint64_t{1024 >> 4} << 32) | (std::uint64_t{1} << 62);

// NOTE: in a cluster, bits 24 and up of a shared address name the CTA. A descriptor has only the
// lower 18 bits.
FLASHMLA_TILE_FUNCTION std::uint64_t encoded_address(std::uint32_t address) {
  return (address & 0x3FFFF) >> 4;
}

// K-major: the dimension that is summed over lies along the rows of the chunk. The next 16 columns
// are k_step further.
FLASHMLA_TILE_FUNCTION std::uint64_t k_major(std::uint32_t address) {
  return encoded_address(address) | (std::uint64_t{1} << 16) | descriptor_base;
}
inline constexpr std::uint64_t k_major_step = 32 >> 4;

// The dimension that is summed over lies across the rows of the chunks (V: tokens are rows). Chunks
// are `chunk_bytes` apart; the next 16 rows are transposed_step further.
FLASHMLA_TILE_FUNCTION std::uint64_t transposed(std::uint32_t address, std::uint32_t chunk_bytes) {
  return encoded_address(address) | (std::uint64_t{chunk_bytes >> 4} << 16) | descriptor_base;
}
inline constexpr std::uint64_t transposed_step = 16 * row_bytes >> 4;

}  // namespace flashmla::sm90::tile
