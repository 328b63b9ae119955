// The end of a segment in the consumer warpgroup: the results of the rows go to the output or to
// the run workspace.
#pragma once

#include "sm90/attend/result_rows.h"
#include "sm90/attend/swap_ab/consumer.h"
#include "sm90/attend/tile_segment.h"
#include "sm90/ops/half_range.h"

namespace flashmla::sm90::attend::swap_ab {

// The consumer warpgroup at the end of a segment.
// `C` is a Consumer. Where scores are computed by another warpgroup, it has wait_for_totals().
template <class C>
class SegmentEnd {
  using Room = typename C::RoomType;
  using T = typename C::T;
  static constexpr int rows = C::rows;
  static constexpr bool halves = sizeof(PartialNumber<T>) == 2;
  static constexpr int paired_chunks = Room::paired_chunks;
  // Sums of magnitudes: one for the rows of each pair of own columns, or one for each own row where
  // columns of V lie in pairs.
  static constexpr int range_count = paired_chunks > 0 ? C::own_rows : C::groups;

  C& c;
  const TileSegment& segment;
  const int group;

 public:
  FLASHMLA_DEVICE SegmentEnd(C& consumer, const TileSegment& record)
      : c(consumer), segment(record), group(C::value_group()) {}

  // Writes the rows to the output or as a partial result. Afterwards the memory of the queries is
  // free.
  FLASHMLA_DEVICE void finish() {
    if constexpr (Room::two_warpgroups)
      c.wait_for_totals();  // also: the other warpgroup neither reads nor loads queries
    if (segment.partial < 0) [[unlikely]] {
      show_totals();
      finish_rows();
      stage_rows<T>();
      meet();
      write_staged_rows(ResultRows::of_output(c.p, segment));
    } else if constexpr (halves) {
      finish_partial_rows();
      write_staged_rows(ResultRows::of_partial(c.p, segment));
    } else {
      show_totals();
      if (C::thread() < rows)
        finish_partial_row(totals(), 1);
      c.shared.query_ring().release();
      write_wide_partials();
    }
  }

 private:
  FLASHMLA_DEVICE void meet() const {
    ptx::barrier_sync(Room::finishers_met + group, consumer_threads);
  }
  // The number among all chunks of V.
  FLASHMLA_DEVICE int place_of(int chunk) const { return group * C::v_chunks + chunk; }

  // A warp writes every fourth row, in pieces of four chunks.
  FLASHMLA_DEVICE void write_staged_rows(const ResultRows& target) {
    constexpr int piece_chunks = ops::piece_columns / tile::chunk_columns;
    write_rows<rows / consumer_warps, consumer_warps, C::v_chunks / piece_chunks>(
        c.p, segment, target, C::warp(), place_of(0) * tile::chunk_columns + C::lane() * 8,
        [&](int row, int piece) {
          return c.shared.query(place_of(piece * piece_chunks) + C::lane() / tile::units_per_row) +
                 tile::swizzled(row, C::lane() % tile::units_per_row);
        },
        [&] {
          ptx::fence_async_proxy();
          c.shared.query_ring().release();
        });
  }

  // Waits until the totals of all rows are shown. `between` runs before the wait for the other
  // warps.
  template <class Between>
  FLASHMLA_DEVICE void show_totals(Between between) {
    if constexpr (!Room::two_warpgroups)
      c.publish_totals();
    between();
    meet();
  }
  FLASHMLA_DEVICE void show_totals() {
    show_totals([] {});
  }

  // The scale of the row whose number is that of the thread.
  FLASHMLA_DEVICE RowTotals totals() const {
    RowTotals row{c.storage.row_max[C::thread()], 0, 0};
#pragma unroll
    for (int w = 0; w < C::score_warps; ++w) {
      row.sum += c.storage.sum[w][C::thread()];
      row.divisor += c.storage.divisor[w][C::thread()];
    }
    return row;
  }

  // Turns the accumulators into the elements of the output. Also writes the lse.
  FLASHMLA_DEVICE void finish_rows() {
    if (C::thread() < rows)
      row_factor()[C::thread()] = ResultRow(c.p, segment, C::thread()).finish(totals(), group == 0);
    meet();
    multiply_rows();
  }

  FLASHMLA_DEVICE float* row_factor() const { return c.storage.row_factor[group]; }

  // Multiplies each row by row_factor().
  FLASHMLA_DEVICE void multiply_rows() {
#pragma unroll
    for (int i = 0; i < C::own_rows; ++i) {
      const float factor = row_factor()[C::row(i)];
#pragma unroll
      for (int chunk = 0; chunk < C::v_chunks; ++chunk)
        c.out[chunk].rescale_column(i, factor);
    }
  }

  FLASHMLA_DEVICE void finish_partial_row(const RowTotals& row, float down) const {
    constexpr int own_entries = row_entries<T> / Room::value_groups;
#pragma unroll
    for (int entry = group * own_entries; entry < (group + 1) * own_entries; ++entry)
      ResultRow(c.p, segment, C::thread()).template finish_partial<T>(row, entry, down);
  }

  // Rounds the accumulators to fp16. Where the values of any row do not fit fp16, powers of two
  // bring all rows into its range.
  FLASHMLA_DEVICE void finish_partial_rows() {
    ops::HalfRange ranges[range_count];
    stage_rows<__half>(ranges);
    bool good = true;
#pragma unroll
    for (const ops::HalfRange& range : ranges)
      good = good && range.good();
    show_totals([&] {
      const bool bad = ops::any_in_warp(!good);
      if (C::lane() == 0)
        c.storage.out_of_range[group][C::warp()] = bad;
    });
    bool bad = false;
#pragma unroll
    for (int w = 0; w < consumer_warps; ++w)
      bad = bad || c.storage.out_of_range[group][w];
    float down = 1;
    if (bad) [[unlikely]]
      down = bring_into_range();
    if (C::thread() < rows)
      finish_partial_row(totals(), down);
  }

  // The `down` of a row, in the thread whose number is that of the row.
  FLASHMLA_DEVICE float bring_into_range() {
    float magnitudes[C::own_rows] = {};
#pragma unroll
    for (int i = 0; i < C::own_rows; ++i)
#pragma unroll
      for (int chunk = 0; chunk < C::v_chunks; ++chunk)
        magnitudes[i] += fabsf(c.out[chunk].at(0, i)) + fabsf(c.out[chunk].at(1, i));
    C::reduce_tokens(magnitudes, [](float a, float b) { return a + b; });
    float(&exchange)[C::score_warps][rows] =
        c.storage.exchange[Room::value_groups == 1 ? c.turn : group];
    C::publish(exchange, C::warp(), magnitudes);
    meet();
    RowScale scale;
    if (C::thread() < rows) {
      float sum = 0;
#pragma unroll
      for (int w = 0; w < consumer_warps; ++w)
        sum += exchange[w][C::thread()];
      scale = RowScale::of(sum);
      row_factor()[C::thread()] = scale.up;
    }
    meet();
    multiply_rows();
    ops::HalfRange ranges[range_count];
    stage_rows<__half>(ranges);
    meet();
    return scale.down;
  }

  // Writes the rows, rounded to 16 bits, as chunks to the memory of the queries. `ranges`, where
  // given, check the elements.
  template <class Number, class... Ranges>
  FLASHMLA_DEVICE void stage_rows(Ranges&... ranges) {
#pragma unroll
    for (int chunk = 0; chunk < C::v_chunks; ++chunk)
      if (place_of(chunk) < paired_chunks)
        stage_paired_chunk<Number>(chunk, ranges...);
      else
#pragma unroll
        for (int n = 0; n < rows / 16; ++n)
          stage_matrices<Number>(chunk, n, ranges...);
  }

  // The matrices are transposed, so that rows of the tile are rows of the chunks.
  template <class Number, class... Ranges>
  FLASHMLA_DEVICE void stage_matrices(int chunk, int n, Ranges&... ranges) {
    std::uint32_t words[4];
    c.out[chunk].template pack<Number>(n, words);
    ptx::store_matrices_transposed(
        c.shared.query(place_of(chunk)) + C::matrix_row(C::lane() / tile::matrix_rows, n), words[0],
        words[1], words[2], words[3]);
    if constexpr (paired_chunks > 0)
      (look_at_columns<Number>(chunk, n * 4, n * 4 + 4, ranges), ...);
    else
      (look_at(words, n, ranges), ...);
  }
  static FLASHMLA_DEVICE void look_at(const std::uint32_t (&words)[4], int n,
                                      ops::HalfRange (&ranges)[range_count]) {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      ranges[2 * n + tile::pair_of_operand(j)].add(words[j]);
  }

  // The own rows of the accumulator are neighbouring columns of V (ops/code_operand.h).
  template <class Number, class... Ranges>
  FLASHMLA_DEVICE void stage_paired_chunk(int chunk, Ranges&... ranges) {
    const int pair = tile::own_row(C::lane());
#pragma unroll
    for (int i = 0; i < C::own_rows; ++i)
      ptx::store_shared(c.shared.query(place_of(chunk)) +
                            tile::swizzled(C::row(i), C::warp() * 2 + pair / 4) + pair % 4 * 4,
                        columns_of<Number>(chunk, i));
    (look_at_columns<Number>(chunk, 0, C::own_rows, ranges), ...);
  }
  template <class Number>
  FLASHMLA_DEVICE std::uint32_t columns_of(int chunk, int i) const {
    return ptx::pack<Number>(c.out[chunk].at(0, i), c.out[chunk].at(1, i));
  }
  template <class Number>
  FLASHMLA_DEVICE void look_at_columns(int chunk, int first, int end,
                                       ops::HalfRange (&ranges)[range_count]) const {
#pragma unroll
    for (int i = first; i < end; ++i)
      ranges[i].add(columns_of<Number>(chunk, i));
  }

  // Partial results in fp32, from registers.
  FLASHMLA_DEVICE void write_wide_partials() {
#pragma unroll
    for (int i = 0; i < C::own_rows; ++i) {
      float* const target = wide_partial_row(c.p, segment, C::row(i));
      if (target == nullptr)
        continue;
#pragma unroll
      for (int chunk = 0; chunk < C::v_chunks; ++chunk)
#pragma unroll
        for (int r = 0; r < 2; ++r)
          target[place_of(chunk) * tile::chunk_columns + C::warp() * tile::warp_rows +
                 tile::own_row(C::lane()) + tile::own_rows_apart * r] = c.out[chunk].at(r, i);
    }
  }
};

}  // namespace flashmla::sm90::attend::swap_ab
