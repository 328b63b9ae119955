// The code that both consumers share: the products of a tile, and the end of a segment.
#pragma once

#include "sm90/attend/result_rows.h"
#include "sm90/kernels/dense_decode/seesaw/shared_storage.h"
#include "sm90/ops/accumulator.h"
#include "sm90/ops/half_range.h"
#include "sm90/ops/mask.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/pipeline/position.h"
#include "sm90/ptx/matrix.h"
#include "sm90/ptx/warpgroup.h"
#include "sm90/ptx/wgmma.h"
#include "sm90/tile/fragment.h"
#include "sm90/tile/gmma_descriptor.h"

namespace flashmla::sm90::dense_decode::seesaw {

using attend::PartialNumber;
using attend::ResultRow;
using attend::ResultRows;
using attend::row_entries;
using attend::RowScale;
using attend::RowTotals;

enum Side { left, right };

// The two consumers divide the columns of V and the blocks of a segment. The left consumer computes
// the scores of even blocks (buffer 0), the right one those of odd blocks (buffer 1).
template <class T, int Chunks, int ClusterSize, Side side>
struct Consumer {
  static constexpr int buffer = side;
  // Shared addresses as constants, so that descriptors take no registers.
  static FLASHMLA_DEVICE SharedAddresses<Chunks> fixed() { return {tile::shared_start}; }

  const Params& p;
  SharedAddresses<Chunks> shared;
  ops::Accumulator<256> out;    // 64 rows × 256 columns of V
  ops::Accumulator<64> scores;  // 64 rows × 64 tokens
  // [16 columns][register]: operands A of the products.
  std::uint32_t rope[4][4];     // the last chunk of the queries
  std::uint32_t weights[4][4];  // P
  ops::RowState rows;
  bool rescales;    // maxima of the warp's rows have risen, so that `out` must be rescaled
  float factor[2];  // the factors of the two own rows, set where rescales is true
  pipeline::RingPosition<1> at;          // of the own buffer
  pipeline::RingPosition<1> weights_at;  // of the other consumer's P
  // The number of tokens that need no mask: every row sees them, and scores are not negated.
  int plain_tokens;

  FLASHMLA_DEVICE Consumer(const Params& params, const SharedAddresses<Chunks>& addresses)
      : p(params), shared(addresses) {}

  static FLASHMLA_DEVICE int thread() { return threadIdx.x % warpgroup_threads; }
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

  // Prepares a segment, while the warp waits for it.
  FLASHMLA_DEVICE void clear() {
    out.clear();
    out.pin();  // the clearing happens here, not after the scores
    rows.reset();
  }

  FLASHMLA_DEVICE void begin_segment(const TileSegment& segment) {
    plain_tokens = p.scores.negated
                       ? 0
                       : p.scores.visible_tokens(p.rows, segment.length,
                                                 p.rows.by_group.quotient(segment.first_row));
    if constexpr (Chunks > rope_chunk) {
#pragma unroll
      for (int k = 0; k < 4; ++k)
        ptx::load_matrices(shared.query(rope_chunk) + matrix_row(k), rope[k]);
    }
  }

  // scores += Q Kᵀ over one chunk of columns. Waits for the part of the block in front of its first
  // chunk.
  template <int Chunk, bool First = false>
  FLASHMLA_DEVICE void multiply_chunk() {
    if constexpr (Chunk % v_half_chunks == 0) {
      shared.key_ring(buffer, Chunk / v_half_chunks).wait(at);
      scores.pin();
      ptx::wgmma_fence();
    }
    const std::uint64_t keys = tile::k_major(fixed().keys(buffer, Chunk));
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const std::uint64_t step = k * tile::k_major_step;
      if constexpr (Chunk == rope_chunk)
        ptx::wgmma_n64_rs<T>(scores.value, rope[k], keys + step, !(First && k == 0));
      else
        ptx::wgmma_n64_ss<T>(scores.value, tile::k_major(fixed().query(Chunk)) + step, keys + step,
                             !(First && k == 0));
    }
  }

  // The rotary chunk, which only QK reads, and then the chunks of half `first` of V.
  template <int FirstChunk>
  FLASHMLA_DEVICE void multiply_first_half() {
    if constexpr (Chunks > rope_chunk)
      multiply_chunk<rope_chunk, true>();
    multiply_chunk<FirstChunk, Chunks <= rope_chunk>();
    multiply_chunk<FirstChunk + 1>();
    multiply_chunk<FirstChunk + 2>();
    multiply_chunk<FirstChunk + 3>();
  }
  template <int FirstChunk>
  FLASHMLA_DEVICE void multiply_second_half() {
    multiply_chunk<FirstChunk>();
    multiply_chunk<FirstChunk + 1>();
    multiply_chunk<FirstChunk + 2>();
    multiply_chunk<FirstChunk + 3>();
    ptx::wgmma_commit();
    scores.pin();
    at.advance();
  }

  // out += P V of a block, with P from registers. Afterwards `out` refers to the maxima of P.
  FLASHMLA_DEVICE void multiply_own_weights() {
    if (rescales)
      out.rescale(factor);
    out.pin();
    ptx::pin_matrix(weights);
    ptx::wgmma_fence();
    const std::uint64_t values =
        tile::transposed(fixed().keys(buffer, side * v_half_chunks), chunk_bytes);
#pragma unroll
    for (int k = 0; k < 4; ++k)
      ptx::wgmma_n256_rt<T>(out.value, weights[k], values + k * tile::transposed_step, 1);
    ptx::wgmma_commit();
    out.pin();
  }

  // The same for a block of the other consumer, with P from shared memory.
  FLASHMLA_DEVICE void multiply_other_weights() {
    if (rescales)
      out.rescale(factor);
    out.pin();
    ptx::wgmma_fence();
    const std::uint64_t other = tile::k_major(fixed().weights(1 - side));
    const std::uint64_t values =
        tile::transposed(fixed().keys(1 - buffer, side * v_half_chunks), chunk_bytes);
#pragma unroll
    for (int k = 0; k < 4; ++k)
      ptx::wgmma_n256_st<T>(out.value, other + k * tile::k_major_step,
                            values + k * tile::transposed_step, 1);
    ptx::wgmma_commit();
    out.pin();
  }

  // Masks the scores of the block that begins at `first_token`, and turns them into P in registers.
  FLASHMLA_DEVICE void softmax(const TileSegment& segment, int first_token) {
    if (first_token + block_tokens > plain_tokens) {
      if (p.scores.negated)
        scores.negate();
      const int first = p.rows.by_group.quotient(segment.first_row + row());
      const int second = p.rows.by_group.quotient(segment.first_row + row() + tile::own_rows_apart);
      ops::mask_scores(scores.value, tile::own_column(lane() % tile::quad_lanes),
                       p.scores.visible_tokens(p.rows, segment.length, first) - first_token,
                       p.scores.visible_tokens(p.rows, segment.length, second) - first_token);
    }
    rescales = ops::raise_max(scores.value, p.scores.scale, rows, factor);
    ops::exponentiate<T>(scores.value, p.scores.scale, rows, weights);
  }

  // Writes P and the maxima for the other consumer. The caller shows them afterwards.
  FLASHMLA_DEVICE void write_weights() {
#pragma unroll
    for (int k = 0; k < 4; ++k)
      ptx::store_matrices(shared.weights(side) + matrix_row(k), weights[k][0], weights[k][1],
                          weights[k][2], weights[k][3]);
    if (first_of_quad()) {
      ptx::store_shared(shared.max(side, row()), rows.max[0]);
      ptx::store_shared(shared.max(side, row() + tile::own_rows_apart), rows.max[1]);
    }
    ptx::fence_async_proxy();
  }

  FLASHMLA_DEVICE void show_weights() { shared.handoff().show(Exchange::weights, side); }

  // Waits for P and the maxima of the other consumer's block, and takes over the maxima.
  FLASHMLA_DEVICE void await_other_weights() {
    shared.handoff().await(Exchange::weights, 1 - side, weights_at);
    weights_at.advance();
    const float first = ptx::load_shared(shared.max(1 - side, row()));
    const float second = ptx::load_shared(shared.max(1 - side, row() + tile::own_rows_apart));
    rescales = ops::adopt_max(first, second, rows, factor);
  }

  // Gives a part of a block back to the producers of the cluster.
  FLASHMLA_DEVICE void release(int keys_buffer, int part) {
    shared.key_ring(keys_buffer, part).template release_to_cluster<ClusterSize>(thread());
  }

  // Writes this consumer's half of the columns to the output or as a partial result. The rows pass
  // through the memory of the queries. This memory is free for the next queries before the rows are
  // written, which takes long: a multiprocessor writes only about 16 bytes in a clock.
  FLASHMLA_DEVICE void finish_segment(const TileSegment& segment, pipeline::UseCount n) {
    // NOTE: split and unsplit requests have code of their own, although it has much in common. In
    // short calls, whose requests are split, the code comes from a cold instruction cache, where
    // jumps cost most.
    if (segment.partial >= 0) [[likely]]
      finish_partial(segment, n);
    else
      finish_output(segment, n);
  }

 private:
  static constexpr bool halves = sizeof(PartialNumber<T>) == 2;

  FLASHMLA_DEVICE void finish_partial(const TileSegment& segment, pipeline::UseCount n) {
    // NOTE: this comes first, because it also shows that no warp reads the queries any more.
    exchange_sums(n);
    float down[2] = {1, 1};
    if constexpr (halves)
      stage_partials(down);
    const int r = finished_row();
    if (lane() % tile::quad_lanes < 2 && side < row_entries<T>)
      ResultRow(p, segment, row() + tile::own_rows_apart * r)
          .template finish_partial<T>(totals(r), side, r ? down[1] : down[0]);
    if constexpr (halves)
      write_staged_rows(segment, ResultRows::of_partial(p, segment));
    else
      write_wide_partials(segment);
  }

  FLASHMLA_DEVICE void finish_output(const TileSegment& segment, pipeline::UseCount n) {
    exchange_sums(n);
    const int r = finished_row();
    const float scale = ResultRow(p, segment, row() + tile::own_rows_apart * r)
                            .finish(totals(r), side == left && lane() % tile::quad_lanes < 2);
    const int quad = lane() & ~(tile::quad_lanes - 1);
    const float scales[2] = {__shfl_sync(0xffffffffu, scale, quad),
                             __shfl_sync(0xffffffffu, scale, quad | 1)};
    out.rescale(scales);
    stage_rows<T>();
    write_staged_rows(segment, ResultRows::of_output(p, segment));
  }

  // Lanes 0 and 1 of a quad finish own rows 0 and 1 of the quad.
  static FLASHMLA_DEVICE int finished_row() { return lane() % 2; }
  FLASHMLA_DEVICE RowTotals totals(int r) const {
    return {r ? rows.max[1] : rows.max[0], r ? rows.sum[1] : rows.sum[0],
            r ? rows.rounded[1] : rows.rounded[0]};
  }

  FLASHMLA_DEVICE void write_staged_rows(const TileSegment& segment, const ResultRows& target) {
    __syncwarp();
    const std::uint32_t staged = shared.query(side * v_half_chunks + lane() / tile::units_per_row);
    write_rows<tile::warp_rows, 1, 1>(
        p, segment, target, warp_row(), side * 256 + lane() * 8,
        [&](int row, int) { return staged + tile::swizzled(row, lane() % tile::units_per_row); },
        [&] {
          ptx::fence_async_proxy();
          shared.query_ring().release();
        });
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
      for (int i = 0; i < out.own_columns; i += 2)
        magnitudes += fabsf(out.at(r, i)) + fabsf(out.at(r, i + 1));
      const RowScale scale = RowScale::of(ops::sum_in_quad(magnitudes));
      up[r] = scale.up;
      down[r] = scale.down;
    }
    out.rescale(up);
    stage_rows<__half>(ranges);
  }

  // Each consumer has the sums of its own blocks. Both have the same maxima here.
  FLASHMLA_DEVICE void exchange_sums(pipeline::UseCount n) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      rows.sum[r] = ops::sum_in_quad(rows.sum[r]);
      rows.rounded[r] = ops::sum_in_quad(rows.rounded[r]);
      if (first_of_quad())
        ptx::store_shared(shared.sums(side, row() + tile::own_rows_apart * r),
                          float2{rows.sum[r], rows.rounded[r]});
    }
    shared.handoff().show(Exchange::sums, side);
    shared.handoff().await(Exchange::sums, 1 - side, n);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float2 other =
          ptx::load_shared_pair(shared.sums(1 - side, row() + tile::own_rows_apart * r));
      rows.sum[r] += other.x;
      rows.rounded[r] += other.y;
    }
  }

  // Partial results in fp32, from registers.
  FLASHMLA_DEVICE void write_wide_partials(const TileSegment& segment) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float* const target = wide_partial_row(p, segment, row() + tile::own_rows_apart * r);
      if (target == nullptr)
        continue;
#pragma unroll
      for (int i = 0; i < out.own_columns; i += 2)
        *reinterpret_cast<float2*>(target + side * 256 + tile::columns_before(i) +
                                   tile::own_column(lane() % tile::quad_lanes)) = {
            out.at(r, i), out.at(r, i + 1)};
    }
    ptx::fence_async_proxy();
    shared.query_ring().release();
  }

  // Writes the warp's rows, rounded to 16 bits, as chunks to the memory of the queries. `ranges`,
  // where given, check the elements of the two own rows.
  template <class Number, class... Ranges>
  FLASHMLA_DEVICE void stage_rows(Ranges&... ranges) {
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      std::uint32_t words[4];
      out.template pack<Number>(k, words);
      ptx::store_matrices(shared.query(side * v_half_chunks + k / 4) + matrix_row(k % 4), words[0],
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
};

}  // namespace flashmla::sm90::dense_decode::seesaw
