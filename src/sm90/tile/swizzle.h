// Where a byte of a tile lies in shared memory. A tile consists of chunks of 64 columns (128
// bytes). A chunk of R rows is R · 128 contiguous bytes. The units of 16 bytes of a row are
// permuted by the row number ("128-byte swizzle"), in the way in which the copy engine writes them
// and wgmma reads them.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define FLASHMLA_TILE_FUNCTION __host__ __device__ constexpr
#else
#define FLASHMLA_TILE_FUNCTION constexpr
#endif

namespace flashmla::sm90::tile {

inline constexpr int chunk_columns = 64;
inline constexpr int row_bytes = 128;  // of a chunk
inline constexpr int unit_bytes = 16;
inline constexpr int units_per_row = row_bytes / unit_bytes;

// Byte offset within a chunk of 16-byte unit `unit` (0 … 7) of row `row`.
FLASHMLA_TILE_FUNCTION std::uint32_t swizzled(std::uint32_t row, std::uint32_t unit) {
  return row * row_bytes + ((unit ^ (row & 7)) * unit_bytes);
}

}  // namespace flashmla::sm90::tile
