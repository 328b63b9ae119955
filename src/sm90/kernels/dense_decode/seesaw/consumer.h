// What the two consumers share: products on a tile, and the end of a segment.
#pragma once

#include "sm90/kernels/dense_decode/result_rows.h"
#include "sm90/kernels/dense_decode/seesaw/shared_storage.h"
#include "sm90/ops/half_range.h"
#include "sm90/ops/mask.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/pipeline/position.h"
#include "sm90/ptx/matrix.h"
#include "sm90/ptx/warpgroup.h"
#include "sm90/ptx/wgmma.h"
#include "sm90/tile/gmma_descriptor.h"

namespace flashmla::sm90::dense_decode::seesaw {

enum Side { left, right };

// The consumers divide V's columns between them, and the blocks of a segment: the left one computes
// the scores of even blocks (buffer 0), the right one those of odd blocks (buffer 1).
template <class T, int Chunks, int ClusterSize, Side side>
struct Consumer {
  static constexpr int buffer = side;
  static constexpr int warp_rows = 16;
  // Addresses as constants, for descriptors.
  static FLASHMLA_DEVICE SharedAddresses<Chunks> fixed() { return {shared_start}; }

  const Params& p;
  SharedAddresses<Chunks> shared;
  float out[128];               // 64 rows × 256 columns of V
  float scores[32];             // 64 rows × 64 tokens
  std::uint32_t rope[4][4];     // the last chunk of the queries
  std::uint32_t weights[4][4];  // P
  ops::RowState rows;
  bool rescales;                         // the warp's rows of `out` refer to maxima that have risen
  float factor[2];                       // of these rows, if so
  pipeline::RingPosition<1> at;          // of the own buffer
  pipeline::RingPosition<1> weights_at;  // of the other consumer's P
  // Tokens of the segment's request that need no care: every row sees them, and scores are not
  // negated.
  int plain_tokens;

  FLASHMLA_DEVICE Consumer(const Params& params, const SharedAddresses<Chunks>& addresses)
      : p(params), shared(addresses) {}

  static FLASHMLA_DEVICE int thread() { return threadIdx.x % warpgroup_threads; }
  static FLASHMLA_DEVICE int lane() { return threadIdx.x % 32; }
  // The first row of the tile that the warp holds, of warp_rows.
  static FLASHMLA_DEVICE int warp_row() { return thread() / 32 * warp_rows; }
  // The first of the two rows of the tile that the thread holds; the other one is 8 further.
  static FLASHMLA_DEVICE int row() { return warp_row() + lane() / 4; }
  // Swizzled offset in a chunk of the row of an 8×8 matrix that this lane addresses, for columns
  // 16k … 16k + 15.
  static FLASHMLA_DEVICE std::uint32_t matrix_row(int k) {
    return tile::swizzled(warp_row() + lane() % 16, 2 * k + lane() / 16);
  }

  // Before a segment, while it is waited for.
  FLASHMLA_DEVICE void clear() {
#pragma unroll
    for (float& value : out)
      value = 0;
    ptx::pin(out);  // now, not when the scores are there
    rows.reset();
  }

  FLASHMLA_DEVICE void begin_segment(const TileSegment& segment) {
    plain_tokens =
        p.negated ? 0 : visible_tokens(p, segment.length, p.by_group.quotient(segment.first_row));
    if constexpr (Chunks > rope_chunk) {
#pragma unroll
      for (int k = 0; k < 4; ++k)
        ptx::load_matrices(shared.query(rope_chunk) + matrix_row(k), rope[k]);
    }
  }

  // scores += Q Kᵀ over one chunk of columns; waits for its part of the block before the first.
  template <int Chunk, bool First = false>
  FLASHMLA_DEVICE void multiply_chunk() {
    if constexpr (Chunk % v_half_chunks == 0) {
      shared.key_ring(buffer, Chunk / v_half_chunks).wait(at);
      ptx::pin(scores);
      ptx::wgmma_fence();
    }
    const std::uint64_t keys = tile::k_major(fixed().keys(buffer, Chunk));
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const std::uint64_t step = k * tile::k_major_step;
      if constexpr (Chunk == rope_chunk)
        ptx::wgmma_n64_rs<T>(scores, rope[k], keys + step, !(First && k == 0));
      else
        ptx::wgmma_n64_ss<T>(scores, tile::k_major(fixed().query(Chunk)) + step, keys + step,
                             !(First && k == 0));
    }
  }

  // The chunks that only QK reads, then those of V's half `first`.
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
    ptx::pin(scores);
    at.advance();
  }

  // out += P V of a block, P from registers; out refers to the maxima of P then.
  FLASHMLA_DEVICE void multiply_own_weights() {
    if (rescales)
      ops::rescale(out, factor);
    ptx::pin(out);
    ptx::pin_matrix(weights);
    ptx::wgmma_fence();
    const std::uint64_t values =
        tile::transposed(fixed().keys(buffer, side * v_half_chunks), chunk_bytes);
#pragma unroll
    for (int k = 0; k < 4; ++k)
      ptx::wgmma_n256_rt<T>(out, weights[k], values + k * tile::transposed_step, 1);
    ptx::wgmma_commit();
    ptx::pin(out);
  }

  // The same of the other consumer's block, P from shared memory.
  FLASHMLA_DEVICE void multiply_other_weights() {
    if (rescales)
      ops::rescale(out, factor);
    ptx::pin(out);
    ptx::wgmma_fence();
    const std::uint64_t other = tile::k_major(fixed().weights(1 - side));
    const std::uint64_t values =
        tile::transposed(fixed().keys(1 - buffer, side * v_half_chunks), chunk_bytes);
#pragma unroll
    for (int k = 0; k < 4; ++k)
      ptx::wgmma_n256_st<T>(out, other + k * tile::k_major_step, values + k * tile::transposed_step,
                            1);
    ptx::wgmma_commit();
    ptx::pin(out);
  }

  // Masks the scores of the block that begins at `first_token`; turns them into P in registers.
  FLASHMLA_DEVICE void softmax(const TileSegment& segment, int first_token) {
    if (first_token + block_tokens > plain_tokens) {
      if (p.negated) {
#pragma unroll
        for (float& score : scores)
          score = -score;
      }
      const int first = p.by_group.quotient(segment.first_row + row());
      const int second = p.by_group.quotient(segment.first_row + row() + 8);
      ops::mask_scores(scores, lane() % 4 * 2,
                       visible_tokens(p, segment.length, first) - first_token,
                       visible_tokens(p, segment.length, second) - first_token);
    }
    rescales = ops::raise_max(scores, p.scale, rows, factor);
    ops::exponentiate<T>(scores, p.scale, rows, weights);
  }

  // Writes P and the maxima for the other consumer; the caller says when they may be read.
  FLASHMLA_DEVICE void write_weights() {
#pragma unroll
    for (int k = 0; k < 4; ++k)
      ptx::store_matrices(shared.weights(side) + matrix_row(k), weights[k][0], weights[k][1],
                          weights[k][2], weights[k][3]);
    if (lane() % 4 == 0) {
      ptx::store_shared(shared.max(side, row()), rows.max[0]);
      ptx::store_shared(shared.max(side, row() + 8), rows.max[1]);
    }
    ptx::fence_async_proxy();
  }

  FLASHMLA_DEVICE void show_weights() { shared.handoff().show(Exchange::weights, side); }

  // Waits for P and the maxima of the other consumer's block, and takes over the maxima.
  FLASHMLA_DEVICE void await_other_weights() {
    shared.handoff().await(Exchange::weights, 1 - side, weights_at);
    weights_at.advance();
    const float first = ptx::load_shared(shared.max(1 - side, row()));
    const float second = ptx::load_shared(shared.max(1 - side, row() + 8));
    rescales = ops::adopt_max(first, second, rows, factor);
  }

  // Gives a part of a block back to the producers of the cluster.
  FLASHMLA_DEVICE void release(int keys_buffer, int part) {
    shared.key_ring(keys_buffer, part).template release_to_cluster<ClusterSize>(thread());
  }

  // Writes this consumer's half of the columns, to the output or as a partial result. They pass
  // through the place of the queries, which is free for the next ones before they are written: an
  // SM writes no more than about 16 bytes a clock.
  FLASHMLA_DEVICE void finish_segment(const TileSegment& segment, pipeline::UseCount n) {
    // NOTE: two ways to the end, though they have much in common: in short calls, whose requests
    // are split, the code comes from a cold instruction cache, and jumps in it cost most.
    if (segment.partial >= 0) [[likely]]
      finish_partial(segment, n);
    else
      finish_output(segment, n);
  }

 private:
  static constexpr bool halves = sizeof(PartialNumber<T>) == 2;

  FLASHMLA_DEVICE void finish_partial(const TileSegment& segment, pipeline::UseCount n) {
    // NOTE: first, for it also says that no warp reads the queries any more.
    exchange_sums(n);
    float down[2] = {1, 1};
    if constexpr (halves)
      stage_partials(down);
    const int second = own_row();
    if (lane() % 4 < 2 && side < row_entries<T>)
      ResultRow(p, segment, row() + 8 * second)
          .template finish_partial<T>(totals(second), side, second ? down[1] : down[0]);
    if constexpr (halves)
      write_staged_rows(segment, ResultRows::of_partial(p, segment));
    else
      write_wide_partials(segment);
  }

  FLASHMLA_DEVICE void finish_output(const TileSegment& segment, pipeline::UseCount n) {
    exchange_sums(n);
    const int second = own_row();
    const float scale = ResultRow(p, segment, row() + 8 * second)
                            .finish(totals(second), side == left && lane() % 4 < 2);
    const float scales[2] = {__shfl_sync(0xffffffffu, scale, lane() & ~3),
                             __shfl_sync(0xffffffffu, scale, (lane() & ~3) | 1)};
    ops::rescale(out, scales);
    stage_rows<T>();
    write_staged_rows(segment, ResultRows::of_output(p, segment));
  }

  // Lanes 0 and 1 of a quad finish its two rows.
  static FLASHMLA_DEVICE int own_row() { return lane() % 2; }
  FLASHMLA_DEVICE RowTotals totals(int second) const {
    return {second ? rows.max[1] : rows.max[0], second ? rows.sum[1] : rows.sum[0],
            second ? rows.rounded[1] : rows.rounded[0]};
  }

  FLASHMLA_DEVICE void write_staged_rows(const TileSegment& segment, const ResultRows& target) {
    __syncwarp();
    const std::uint32_t staged = shared.query(side * v_half_chunks + lane() / tile::units_per_row);
    write_rows<warp_rows, 1, 1>(
        p, segment, target, warp_row(), side * 256 + lane() * 8,
        [&](int row, int) { return staged + tile::swizzled(row, lane() % tile::units_per_row); },
        [&] {
          ptx::fence_async_proxy();
          shared.query_ring().release();
        });
  }

  // The accumulators as fp16 numbers. Where a row's values are no good as such, all rows of the
  // warp are multiplied by powers of two; `down` takes them back.
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
      for (int i = 0; i < 32; ++i)
        magnitudes += fabsf(out[4 * i + 2 * r]) + fabsf(out[4 * i + 2 * r + 1]);
      const RowScale scale = RowScale::of(ops::sum_in_quad(magnitudes));
      up[r] = scale.up;
      down[r] = scale.down;
    }
    ops::rescale(out, up);
    stage_rows<__half>(ranges);
  }

  // Each consumer has the sums of its own blocks; both have the same maxima by now.
  FLASHMLA_DEVICE void exchange_sums(pipeline::UseCount n) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      rows.sum[r] = ops::sum_in_quad(rows.sum[r]);
      rows.rounded[r] = ops::sum_in_quad(rows.rounded[r]);
      if (lane() % 4 == 0)
        ptx::store_shared(shared.sums(side, row() + 8 * r), float2{rows.sum[r], rows.rounded[r]});
    }
    shared.handoff().show(Exchange::sums, side);
    shared.handoff().await(Exchange::sums, 1 - side, n);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float2 other = ptx::load_shared_pair(shared.sums(1 - side, row() + 8 * r));
      rows.sum[r] += other.x;
      rows.rounded[r] += other.y;
    }
  }

  // Partial results in fp32, from registers.
  FLASHMLA_DEVICE void write_wide_partials(const TileSegment& segment) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float* const target = wide_partial_row(p, segment, row() + 8 * r);
      if (target == nullptr)
        continue;
#pragma unroll
      for (int i = 0; i < 32; ++i)
        *reinterpret_cast<float2*>(target + side * 256 + 8 * i + lane() % 4 * 2) = {
            out[4 * i + 2 * r], out[4 * i + 2 * r + 1]};
    }
    ptx::fence_async_proxy();
    shared.query_ring().release();
  }

  // The warp's rows, rounded to 16 bits, as chunks in the place of the queries. `ranges`, if given,
  // look at the numbers of each of the thread's two rows.
  template <class Number, class... Ranges>
  FLASHMLA_DEVICE void stage_rows(Ranges&... ranges) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const float* o = out + 8 * i;
      const std::uint32_t words[4] = {ptx::pack<Number>(o[0], o[1]), ptx::pack<Number>(o[2], o[3]),
                                      ptx::pack<Number>(o[4], o[5]), ptx::pack<Number>(o[6], o[7])};
      ptx::store_matrices(shared.query(side * v_half_chunks + i / 4) + matrix_row(i % 4), words[0],
                          words[1], words[2], words[3]);
      (look_at(words, ranges), ...);
    }
  }
  static FLASHMLA_DEVICE void look_at(const std::uint32_t (&words)[4],
                                      ops::HalfRange (&ranges)[2]) {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      ranges[j % 2].add(words[j]);
  }
};

}  // namespace flashmla::sm90::dense_decode::seesaw
