// The end of a segment in kernels of tiles of 64 rows, where each of two warpgroups has half of the
// columns of V. The rows pass through the memory of the queries on their way to the output or to
// the run workspace.
#pragma once

#include <cstdint>

#include "sm90/attend/result_rows.h"
#include "sm90/attend/tile_segment.h"
#include "sm90/ops/half_range.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/ptx/matrix.h"
#include "sm90/tile/fragment.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::attend {

enum Side { left, right };
inline constexpr int half_chunks = 4;  // chunks of 64 columns of a half of V
inline constexpr int half_columns = half_chunks * tile::chunk_columns;

// The place of the calling thread in its warpgroup, and so in a tile of 64 rows.
struct HalfThread {
  static FLASHMLA_DEVICE int thread() { return threadIdx.x % 128; }
  static FLASHMLA_DEVICE int lane() { return threadIdx.x % 32; }
  // The first of the tile::warp_rows rows that the warp holds.
  static FLASHMLA_DEVICE int warp_row() { return thread() / 32 * tile::warp_rows; }
  // The row of the tile that is own row 0 of the thread. Own row 1 is tile::own_rows_apart rows
  // further.
  static FLASHMLA_DEVICE int row() { return warp_row() + tile::own_row(lane()); }
  // Whether the thread writes what all four threads of its quad know of their two rows.
  static FLASHMLA_DEVICE bool first_of_quad() { return lane() % tile::quad_lanes == 0; }
  // The swizzled offset in a chunk of the matrix row that this lane addresses, for columns 16k …
  // 16k + 15.
  static FLASHMLA_DEVICE std::uint32_t matrix_row(int k) {
    return tile::swizzled(warp_row() + tile::matrix_row(lane()), 2 * k + tile::matrix_unit(lane()));
  }
  // Lanes 0 and 1 of a quad finish own rows 0 and 1 of the quad.
  static FLASHMLA_DEVICE int finished_row() { return lane() % 2; }
};

// T: the type of the output. `Out` is an accumulator of 64 rows × 256 columns: own_columns, at(),
// rescale(), pack(). `Shared` has query(chunk).
template <class T, class Params, class Shared, class Out>
class HalfResults : HalfThread {
 public:
  FLASHMLA_DEVICE HalfResults(const Params& params, const Shared& addresses, Out& accumulator,
                              Side of_columns, const TileSegment& record)
      : p(params), shared(addresses), out(accumulator), side(of_columns), segment(record) {}

  // `totals` are those of the thread's finished_row(). free() gives back the memory of the queries;
  // no warp may read the queries any more.
  template <class Free>
  FLASHMLA_DEVICE void write_partial(const RowTotals& totals, Free free) {
    float down[2] = {1, 1};
    if constexpr (halves)
      stage_partials(down);
    const int r = finished_row();
    if (lane() % tile::quad_lanes < 2 && side < row_entries<T>)
      ResultRow(p, segment, row() + tile::own_rows_apart * r)
          .template finish_partial<T>(totals, side, r ? down[1] : down[0]);
    if constexpr (halves)
      write_staged_rows(ResultRows::of_partial(p, segment), free);
    else
      write_wide_partials(free);
  }

  template <class Free>
  FLASHMLA_DEVICE void write_output(const RowTotals& totals, Free free) {
    const int r = finished_row();
    const float scale = ResultRow(p, segment, row() + tile::own_rows_apart * r)
                            .finish(totals, side == left && lane() % tile::quad_lanes < 2);
    const int quad = lane() & ~(tile::quad_lanes - 1);
    const float scales[2] = {__shfl_sync(0xffffffffu, scale, quad),
                             __shfl_sync(0xffffffffu, scale, quad | 1)};
    out.rescale(scales);
    stage_rows<T>();
    write_staged_rows(ResultRows::of_output(p, segment), free);
  }

 private:
  static constexpr bool halves = sizeof(PartialNumber<T>) == 2;

  template <class Free>
  FLASHMLA_DEVICE void write_staged_rows(const ResultRows& target, Free free) {
    __syncwarp();
    const std::uint32_t staged = shared.query(side * half_chunks + lane() / tile::units_per_row);
    write_rows<tile::warp_rows, 1, 1>(
        p, segment, target, warp_row(), side * half_columns + lane() * 8,
        [&](int row, int) { return staged + tile::swizzled(row, lane() % tile::units_per_row); },
        free);
  }

  // Rounds the accumulators to fp16. Where the values of a row do not fit fp16, all rows of the
  // warp are multiplied by powers of two, and `down` holds the reciprocals.
  FLASHMLA_DEVICE void stage_partials(float (&down)[2]) {
    ops::HalfRange ranges[2];
    stage_rows<__half>(ranges);
    if (!ops::any_in_warp(!ranges[0].good() || !ranges[1].good())) [[likely]]
      return;
    float up[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float magnitudes = 0;
#pragma unroll
      for (int i = 0; i < Out::own_columns; i += 2)
        magnitudes += fabsf(out.at(r, i)) + fabsf(out.at(r, i + 1));
      const RowScale scale = RowScale::of(ops::sum_in_quad(magnitudes));
      up[r] = scale.up;
      down[r] = scale.down;
    }
    out.rescale(up);
    stage_rows<__half>(ranges);
  }

  // Partial results in fp32, from registers.
  template <class Free>
  FLASHMLA_DEVICE void write_wide_partials(Free free) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float* const target = wide_partial_row(p, segment, row() + tile::own_rows_apart * r);
      if (target == nullptr)
        continue;
#pragma unroll
      for (int i = 0; i < Out::own_columns; i += 2)
        *reinterpret_cast<float2*>(target + side * half_columns + tile::columns_before(i) +
                                   tile::own_column(lane() % tile::quad_lanes)) = {
            out.at(r, i), out.at(r, i + 1)};
    }
    free();
  }

  // Writes the warp's rows, rounded to 16 bits, as chunks to the memory of the queries. `ranges`,
  // where given, check the elements of the two own rows.
  template <class Number, class... Ranges>
  FLASHMLA_DEVICE void stage_rows(Ranges&... ranges) {
#pragma unroll
    for (int k = 0; k < half_columns / 16; ++k) {
      std::uint32_t words[4];
      out.template pack<Number>(k, words);
      ptx::store_matrices(shared.query(side * half_chunks + k / 4) + matrix_row(k % 4), words[0],
                          words[1], words[2], words[3]);
      (look_at(words, ranges), ...);
    }
  }
  static FLASHMLA_DEVICE void look_at(const std::uint32_t (&words)[4],
                                      ops::HalfRange (&ranges)[2]) {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      ranges[tile::own_row_of_operand(j)].add(words[j]);
  }

  const Params& p;
  const Shared& shared;
  Out& out;
  const Side side;
  const TileSegment& segment;
};

}  // namespace flashmla::sm90::attend
