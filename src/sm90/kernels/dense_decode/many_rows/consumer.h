// What the two consumers share: products on a tile, and the end of a segment.
#pragma once

#include "sm90/kernels/dense_decode/many_rows/shared_storage.h"
#include "sm90/kernels/dense_decode/result_rows.h"
#include "sm90/ops/cluster.h"
#include "sm90/ops/mask.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/ptx/matrix.h"
#include "sm90/ptx/mbarrier.h"
#include "sm90/ptx/warpgroup.h"
#include "sm90/ptx/wgmma.h"
#include "sm90/tile/gmma_descriptor.h"

namespace flashmla::sm90::dense_decode::many_rows {

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
  bool rescales;                    // the warp's rows of `out` refer to maxima that have risen
  float factor[2];                  // of these rows, if so
  std::uint32_t phase = 0;          // of the own buffer
  std::uint32_t weights_phase = 0;  // of the other consumer's P
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

  FLASHMLA_DEVICE void begin_segment(const SegmentRecord& segment) {
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
      ptx::mbarrier_wait(shared.keys_ready(buffer, Chunk / v_half_chunks), phase);
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
    phase ^= 1;
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
  FLASHMLA_DEVICE void softmax(const SegmentRecord& segment, int first_token) {
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

  FLASHMLA_DEVICE void show_weights() { ptx::mbarrier_arrive(shared.shown(shown_weights, side)); }

  // Waits for P and the maxima of the other consumer's block, and takes over the maxima.
  FLASHMLA_DEVICE void await_other_weights() {
    ptx::mbarrier_wait(shared.shown(shown_weights, 1 - side), weights_phase);
    weights_phase ^= 1;
    const float first = ptx::load_shared(shared.max(1 - side, row()));
    const float second = ptx::load_shared(shared.max(1 - side, row() + 8));
    rescales = ops::adopt_max(first, second, rows, factor);
  }

  // Gives a part of a block back to the producers of the cluster.
  FLASHMLA_DEVICE void release(int keys_buffer, int part) {
    ops::arrive_at_cluster<ClusterSize>(shared.keys_free(keys_buffer, part), thread());
  }

  // Writes this consumer's half of the columns, to the output or as a partial result. They pass
  // through the place of the queries, which is free for the next ones before they are written: an
  // SM writes no more than about 16 bytes a clock.
  FLASHMLA_DEVICE void finish_segment(const SegmentRecord& segment, int parity) {
    exchange_sums(parity);
    // Lanes 0 and 1 of a quad finish its two rows.
    const int second = lane() % 2;
    const ResultRow own(p, segment, row() + 8 * second);
    const float scale =
        own.finish(second ? rows.max[1] : rows.max[0], second ? rows.sum[1] : rows.sum[0],
                   side == left && lane() % 4 < 2);
    const float scales[2] = {__shfl_sync(0xffffffffu, scale, lane() & ~3),
                             __shfl_sync(0xffffffffu, scale, (lane() & ~3) | 1)};
    stage_rows(scales);
    __syncwarp();
    const std::uint32_t staged = shared.query(side * v_half_chunks + lane() / tile::units_per_row);
    write_rows<warp_rows, 1, 1>(
        p, segment, warp_row(), side * 256 + lane() * 8,
        [&](int row, int) { return staged + tile::swizzled(row, lane() % tile::units_per_row); },
        [&] {
          ptx::fence_async_proxy();
          ptx::mbarrier_arrive(shared.query_free());
        });
  }

 private:
  // Each consumer has the sums of its own blocks; both have the same maxima by now.
  FLASHMLA_DEVICE void exchange_sums(int parity) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      rows.sum[r] = ops::sum_in_quad(rows.sum[r]);
      if (lane() % 4 == 0)
        ptx::store_shared(shared.sum(parity, side, row() + 8 * r), rows.sum[r]);
    }
    ptx::mbarrier_arrive(shared.shown(shown_sums, side));
    ptx::mbarrier_wait(shared.shown(shown_sums, 1 - side), parity);
#pragma unroll
    for (int r = 0; r < 2; ++r)
      rows.sum[r] += ptx::load_shared(shared.sum(parity, 1 - side, row() + 8 * r));
  }

  // The warp's rows, rounded, as chunks in the place of the queries.
  FLASHMLA_DEVICE void stage_rows(const float (&scale)[2]) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const float* o = out + 8 * i;
      ptx::store_matrices(shared.query(side * v_half_chunks + i / 4) + matrix_row(i % 4),
                          ptx::pack<T>(o[0] * scale[0], o[1] * scale[0]),
                          ptx::pack<T>(o[2] * scale[1], o[3] * scale[1]),
                          ptx::pack<T>(o[4] * scale[0], o[5] * scale[0]),
                          ptx::pack<T>(o[6] * scale[1], o[7] * scale[1]));
    }
  }
};

}  // namespace flashmla::sm90::dense_decode::many_rows
