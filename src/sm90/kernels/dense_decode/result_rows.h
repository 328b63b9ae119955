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

using attend::PartialNumber;
using attend::row_entries;
using attend::RowScale;

// The first row of a tile among those of the partial results.
FLASHMLA_DEVICE std::int64_t partial_row_of(const Params& p, const TileSegment& segment) {
  return (static_cast<std::int64_t>(segment.partial) * p.rows.kv_heads + segment.kv_head) *
             p.rows.count +
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
        at(params.rows.place(record.kv_head, record.first_row + tile_row)),
        partial_row(partial_row_of(params, record) + tile_row) {}

  // What the accumulators are multiplied by on their way to the output; writes the lse where
  // `writes_lse`. A row without tokens is 0.
  FLASHMLA_DEVICE float finish(const RowTotals& row, bool writes_lse) const {
    const bool has_sink = p.output.sink != nullptr && at.there;
    const ops::FinishedRow finished(row.max, row.sum, row.divisor,
                                    has_sink ? p.output.sink[at.head] : ops::minus_infinity);
    if (at.there && writes_lse)
      *p.output.lse_of(p.rows, segment.request, at) =
          finished.lse_as(p.output.lse_scale, p.output.empty_lse);
    return finished.factor;
  }

  // Of a partial result, whose sink is left to combine: writes one of the row's entries. `down`: of
  // RowScale.
  template <class T>
  FLASHMLA_DEVICE void finish_partial(const RowTotals& row, int entry, float down) const {
    const ops::FinishedRow finished(row.max, row.sum, row.divisor, ops::minus_infinity);
    if (at.there)
      p.partials.rows[partial_row * row_entries<T> + entry] = {finished.lse,
                                                               finished.factor * down};
  }

 private:
  const Params& p;
  const TileSegment& segment;
  RowPlace at;
  std::int64_t partial_row;
};

// Rows of a tile as 16-bit numbers, where they lie at equal distances.
struct ResultRows : ops::SpacedRows {
  static FLASHMLA_DEVICE ResultRows of_output(const Params& p, const TileSegment& segment) {
    return {{p.output.row(segment.request, p.rows.place(segment.kv_head, segment.first_row)),
             p.output.row_distance, p.rows.count - segment.first_row}};
  }
  static FLASHMLA_DEVICE ResultRows of_partial(const Params& p, const TileSegment& segment) {
    return {{static_cast<std::uint16_t*>(p.partials.out) + partial_row_of(p, segment) * v_dim,
             v_dim, p.rows.count - segment.first_row}};
  }
};

// Copies rows of the tile as ops::write_rows() does, wherever the output has them.
template <int Count, int Step, int Pieces, class Source, class Free>
FLASHMLA_DEVICE void write_rows(const Params& p, const TileSegment& segment, const ResultRows& rows,
                                int first_row, int first_column, Source source, Free free) {
  ops::write_rows<Count, Step, Pieces>(
      rows, first_row, first_column, source, free, [&](int row, int piece, const uint4& unit) {
        const RowPlace at = p.rows.place(segment.kv_head, segment.first_row + row);
        if (at.there)
          ops::store_unit<false>(
              p.output.row(segment.request, at) + first_column + piece * ops::piece_columns, unit);
      });
}

// Where a partial result in fp32 of a row of the tile begins; null past the last row.
FLASHMLA_DEVICE float* wide_partial_row(const Params& p, const TileSegment& segment, int tile_row) {
  return segment.first_row + tile_row < p.rows.count
             ? static_cast<float*>(p.partials.out) + (partial_row_of(p, segment) + tile_row) * v_dim
             : nullptr;
}

}  // namespace flashmla::sm90::dense_decode
