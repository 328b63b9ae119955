// Where the e4m3 codes of cached rows lie in shared memory: row behind row, in units of 16 codes.
#pragma once

#include <cstdint>

#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::tile {

// Rows of `Units` units, a multiple of four.
template <int Units>
struct CodeRows {
  static constexpr int units = Units;
  static constexpr int bytes = Units * unit_bytes;  // of a row

  // Units are permuted among their neighbours by the number of the row. So a unit of eight
  // neighbouring rows meets all banks, as do four neighbouring units of two rows. Rows whose number
  // of units is no multiple of eight begin half of the banks apart by themselves.
  static FLASHMLA_TILE_FUNCTION int swizzle(int row) {
    return (Units % 8 == 0 ? (row & 1) << 2 : 0) | (row >> 1 & 3);
  }
  // Byte offset of a unit.
  static FLASHMLA_TILE_FUNCTION std::uint32_t offset(int row, int unit) {
    return row * bytes + (unit ^ swizzle(row)) * unit_bytes;
  }
};

}  // namespace flashmla::sm90::tile
