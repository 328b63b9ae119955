// Writing the rows of a tile: to the output, multiplied by the factor of the sink, or as a partial
// result. `Params` are those of a kernel; they have `rows`, `output` and `partials` of call.h.
//
// NOTE: this code runs once for each segment and finds the instruction cache cold, which costs more
// than executing it. So the code is short: each thread computes the factor of one row for all
// threads, and rows at equal distances, the usual case, need one address.
#pragma once

#include <cstdint>

#include "sm90/attend/call.h"
#include "sm90/attend/tile_segment.h"
#include "sm90/ops/mask.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/ops/store_rows.h"
#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::attend {

// The number of the tile's first row among the rows of a partial result.
template <class Params>
FLASHMLA_DEVICE std::int64_t partial_row_of(const Params& p, const TileSegment& segment) {
  return (static_cast<std::int64_t>(segment.partial) * p.rows.kv_heads + segment.kv_head) *
             p.rows.count +
         segment.first_row;
}

// A row of a tile after all blocks of its segment.
struct RowTotals {
  float max;      // reference maximum
  float sum;      // Σ P
  float divisor;  // Σ of the rounded P
};

template <class Params>
class ResultRow {
 public:
  FLASHMLA_DEVICE ResultRow(const Params& params, const TileSegment& record, int tile_row)
      : p(params),
        segment(record),
        at(params.rows.place(record.kv_head, record.first_row + tile_row)),
        partial_row(partial_row_of(params, record) + tile_row) {}

  // The factor of the accumulators for the output, 0 for a row without tokens. Also writes the lse
  // where `writes_lse` is true.
  FLASHMLA_DEVICE float finish(const RowTotals& row, bool writes_lse) const {
    const bool has_sink = p.output.sink != nullptr && at.there;
    const ops::FinishedRow finished(row.max, row.sum, row.divisor,
                                    has_sink ? p.output.sink[at.head] : ops::minus_infinity);
    if (at.there && writes_lse)
      *p.output.lse_of(p.rows, segment.request, at) =
          finished.lse_as(p.output.lse_scale, p.output.empty_lse);
    return finished.factor;
  }

  // Writes one of the row's entries of a partial result. combine applies the sink later. `down` is
  // that of RowScale.
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

// The rows of a tile with 16-bit elements, where they lie at equal distances.
struct ResultRows : ops::SpacedRows {
  template <class Params>
  static FLASHMLA_DEVICE ResultRows of_output(const Params& p, const TileSegment& segment) {
    return {{p.output.row(segment.request, p.rows.place(segment.kv_head, segment.first_row)),
             p.output.row_distance, p.rows.count - segment.first_row}};
  }
  template <class Params>
  static FLASHMLA_DEVICE ResultRows of_partial(const Params& p, const TileSegment& segment) {
    return {{static_cast<std::uint16_t*>(p.partials.out) + partial_row_of(p, segment) * v_dim,
             v_dim, p.rows.count - segment.first_row}};
  }
};

// Copies rows of the tile to the output like ops::write_rows(), also where they do not lie at equal
// distances.
template <int Count, int Step, int Pieces, class Params, class Source, class Free>
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

// The start of the fp32 partial result of a row of the tile; null behind the last row.
template <class Params>
FLASHMLA_DEVICE float* wide_partial_row(const Params& p, const TileSegment& segment, int tile_row) {
  return segment.first_row + tile_row < p.rows.count
             ? static_cast<float*>(p.partials.out) + (partial_row_of(p, segment) + tile_row) * v_dim
             : nullptr;
}

}  // namespace flashmla::sm90::attend
