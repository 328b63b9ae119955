// Where the rows of a tile go: to the output, scaled by the sink, or as a partial result.
//
// NOTE: this runs once a segment and finds the instruction cache cold, which costs more than the
// instructions themselves: so each thread works out the factor of one row, and the others ask it;
// and rows at equal distances, the usual case, take one address.
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/segment_record.h"
#include "sm90/ops/mask.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/ops/store_rows.h"
#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::dense_decode {

// The first row of a tile among those of the partial results.
FLASHMLA_DEVICE std::int64_t partial_row_of(const Params& p, const SegmentRecord& segment) {
  return (static_cast<std::int64_t>(segment.partial) * p.kv_heads + segment.kv_head) * p.rows +
         segment.first_row;
}

class ResultRow {
 public:
  FLASHMLA_DEVICE ResultRow(const Params& params, const SegmentRecord& record, int tile_row)
      : p(params),
        segment(record),
        at(RowPlace::of(params, record.kv_head, record.first_row + tile_row)),
        partial_row(partial_row_of(params, record) + tile_row) {}

  // What the accumulators are multiplied by, from the row's reference maximum and its sum; writes
  // the lse where `writes_lse`. A row without tokens is 0. Partial results leave the sink to
  // combine.
  FLASHMLA_DEVICE float finish(float max, float sum, bool writes_lse) const {
    const bool partial = segment.partial >= 0;
    const bool has_sink = p.sink != nullptr && !partial && at.there;
    const ops::FinishedRow row(max, sum, has_sink ? p.sink[at.head] : ops::minus_infinity);
    if (at.there && writes_lse) {
      float* const target =
          partial ? p.partial_lse + partial_row : output_lse(p, segment.request, at);
      *target = partial ? row.lse : row.natural_lse();
    }
    return row.factor;
  }

 private:
  const Params& p;
  const SegmentRecord& segment;
  RowPlace at;
  std::int64_t partial_row;
};

// The rows of a tile in the output or the run workspace, where they lie at equal distances.
struct ResultRows {
  std::uint16_t* first;
  std::int64_t distance;  // 0: not at equal distances, or not at multiples of 16 bytes
  std::int32_t count;

  FLASHMLA_DEVICE ResultRows(const Params& p, const SegmentRecord& segment)
      : first(p.partial_out), distance(v_dim), count(p.rows - segment.first_row) {
    if (segment.partial >= 0) {
      first += partial_row_of(p, segment) * v_dim;
    } else {
      first = output_row(p, segment.request, RowPlace::of(p, segment.kv_head, segment.first_row));
      distance = p.out_row_distance;
    }
  }
};

// Copies `Count` rows of the tile, `Step` apart from `first_row` on, in `Pieces` of 32 units (16
// bytes for each lane) from `first_column` on, which is the lane's own. source(row, piece): the
// lane's shared address. `free` is called when the shared memory has been read.
template <int Count, int Step, int Pieces, class Source, class Free>
FLASHMLA_DEVICE void write_rows(const Params& p, const SegmentRecord& segment, int first_row,
                                int first_column, Source source, Free free) {
  constexpr int piece_columns = 32 * 8;
  const ResultRows rows(p, segment);
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

}  // namespace flashmla::sm90::dense_decode
