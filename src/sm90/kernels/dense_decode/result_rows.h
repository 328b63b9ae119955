// Where the rows of a tile go: to the output, scaled by the sink, or as a partial result.
//
// NOTE: this runs once a segment and finds the instruction cache cold, which costs more than the
// instructions themselves: so each thread works out the factor of one row, and the others ask it;
// and rows at equal distances, the usual case, take one address.
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/place.h"
#include "sm90/ops/mask.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/ops/store_rows.h"
#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::dense_decode {

// The first row of a tile among those of the partial results.
FLASHMLA_DEVICE std::int64_t partial_row_of(const Params& p, const TileSegment& segment) {
  return (static_cast<std::int64_t>(segment.partial) * p.kv_heads + segment.kv_head) * p.rows +
         segment.first_row;
}

// Of a row of a tile, when all blocks of its segment are done.
struct RowTotals {
  float max;      // reference maximum
  float sum;      // Σ P
  float divisor;  // Σ P, rounded as it was multiplied
};

class ResultRow {
 public:
  FLASHMLA_DEVICE ResultRow(const Params& params, const TileSegment& record, int tile_row)
      : p(params),
        segment(record),
        at(RowPlace::of(params, record.kv_head, record.first_row + tile_row)),
        partial_row(partial_row_of(params, record) + tile_row) {}

  // What the accumulators are multiplied by on their way to the output; writes the lse where
  // `writes_lse`. A row without tokens is 0.
  FLASHMLA_DEVICE float finish(const RowTotals& row, bool writes_lse) const {
    const bool has_sink = p.sink != nullptr && at.there;
    const ops::FinishedRow finished(row.max, row.sum, row.divisor,
                                    has_sink ? p.sink[at.head] : ops::minus_infinity);
    if (at.there && writes_lse)
      *output_lse(p, segment.request, at) = finished.lse_as(p.lse_scale, p.empty_lse);
    return finished.factor;
  }

  // Of a partial result, whose sink is left to combine: writes one of the row's entries. `down`: of
  // RowScale.
  template <class T>
  FLASHMLA_DEVICE void finish_partial(const RowTotals& row, int entry, float down) const {
    const ops::FinishedRow finished(row.max, row.sum, row.divisor, ops::minus_infinity);
    if (at.there)
      p.partial_rows[partial_row * row_entries<T> + entry] = {finished.lse, finished.factor * down};
  }

 private:
  const Params& p;
  const TileSegment& segment;
  RowPlace at;
  std::int64_t partial_row;
};

// Rows of a tile as 16-bit numbers, where they lie at equal distances.
struct ResultRows {
  std::uint16_t* first;
  std::int64_t distance;  // 0: not at equal distances, or not at multiples of 16 bytes
  std::int32_t count;

  static FLASHMLA_DEVICE ResultRows of_output(const Params& p, const TileSegment& segment) {
    return {output_row(p, segment.request, RowPlace::of(p, segment.kv_head, segment.first_row)),
            p.out_row_distance, p.rows - segment.first_row};
  }
  static FLASHMLA_DEVICE ResultRows of_partial(const Params& p, const TileSegment& segment) {
    return {static_cast<std::uint16_t*>(p.partial_out) + partial_row_of(p, segment) * v_dim, v_dim,
            p.rows - segment.first_row};
  }
};

// Copies `Count` rows of the tile, `Step` apart from `first_row` on, in `Pieces` of 32 units (16
// bytes for each lane) from `first_column` on, which is the lane's own. source(row, piece): the
// lane's shared address. `free` is called when the shared memory has been read.
template <int Count, int Step, int Pieces, class Source, class Free>
FLASHMLA_DEVICE void write_rows(const Params& p, const TileSegment& segment, const ResultRows& rows,
                                int first_row, int first_column, Source source, Free free) {
  constexpr int piece_columns = 32 * 8;
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
    const RowPlace at = RowPlace::of(p, segment.kv_head, segment.first_row + row);
    if (at.there)
      ops::store_unit<false>(
          output_row(p, segment.request, at) + first_column + i % Pieces * piece_columns, unit);
  }
  free();
}

// Where a partial result in fp32 of a row of the tile begins; null past the last row.
FLASHMLA_DEVICE float* wide_partial_row(const Params& p, const TileSegment& segment, int tile_row) {
  return segment.first_row + tile_row < p.rows
             ? static_cast<float*>(p.partial_out) + (partial_row_of(p, segment) + tile_row) * v_dim
             : nullptr;
}

}  // namespace flashmla::sm90::dense_decode
