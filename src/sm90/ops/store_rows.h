// Writing rows of results to global memory.
#pragma once

#include <cstdint>

#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::ops {

// Stores 16 bytes. `Aligned`: the target lies at a multiple of 16 bytes.
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

// Rows of 16-bit elements in global memory at equal distances.
struct SpacedRows {
  std::uint16_t* first;
  std::int64_t
      distance;  // in elements; 0: distances differ, or rows do not lie at multiples of 16 bytes
  std::int32_t count;
};

inline constexpr int piece_columns = 32 * 8;  // a piece of a row has 16 bytes for each lane

// A warp copies `Count` rows from shared to global memory: rows first_row, first_row + Step and so
// on. A row has `Pieces` pieces of 32 units, one unit for each lane. `first_column` is the first
// column of the lane. source(row, piece) is the shared address of the lane's unit. free() is called
// after the shared memory has been read. store(row, piece, unit) writes the lane's unit where
// `rows` have no equal distances.
template <int Count, int Step, int Pieces, class Source, class Free, class Store>
FLASHMLA_DEVICE void write_rows(const SpacedRows& rows, int first_row, int first_column,
                                Source source, Free free, Store store) {
  if (rows.distance != 0) {
    uint4 units[Count][Pieces];
#pragma unroll
    for (int i = 0; i < Count; ++i)
#pragma unroll
      for (int j = 0; j < Pieces; ++j)
        units[i][j] = ptx::load_shared_unit(source(first_row + i * Step, j));
    free();
    std::uint16_t* target = rows.first + first_row * rows.distance + first_column;
#pragma unroll
    for (int i = 0; i < Count; ++i, target += Step * rows.distance)
      if (first_row + i * Step < rows.count)
#pragma unroll
        for (int j = 0; j < Pieces; ++j)
          *reinterpret_cast<uint4*>(target + j * piece_columns) = units[i][j];
    return;
  }
#pragma unroll 1
  for (int i = 0; i < Count * Pieces; ++i) {
    const int row = first_row + i / Pieces * Step;
    const uint4 unit = ptx::load_shared_unit(source(row, i % Pieces));
    store(row, i % Pieces, unit);
  }
  free();
}

}  // namespace flashmla::sm90::ops
