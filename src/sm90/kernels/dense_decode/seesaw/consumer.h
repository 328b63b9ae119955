// The code that both consumers share: the products of a tile, and the end of a segment.
#pragma once

#include "sm90/attend/half_results.h"
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

using attend::left;
using attend::right;
using attend::RowTotals;
using attend::Side;

// The two consumers divide the columns of V and the blocks of a segment. The left consumer computes
// the scores of even blocks (buffer 0), the right one those of odd blocks (buffer 1).
template <class T, int Chunks, int ClusterSize, Side side>
struct Consumer : attend::HalfThread {
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
  FLASHMLA_DEVICE void finish_partial(const TileSegment& segment, pipeline::UseCount n) {
    // NOTE: this comes first, because it also shows that no warp reads the queries any more.
    exchange_sums(n);
    results(segment).write_partial(totals(finished_row()), [&] { release_queries(); });
  }

  FLASHMLA_DEVICE void finish_output(const TileSegment& segment, pipeline::UseCount n) {
    exchange_sums(n);
    results(segment).write_output(totals(finished_row()), [&] { release_queries(); });
  }

  FLASHMLA_DEVICE auto results(const TileSegment& segment) {
    return attend::HalfResults<T, Params, SharedAddresses<Chunks>, ops::Accumulator<256>>(
        p, shared, out, side, segment);
  }

  FLASHMLA_DEVICE void release_queries() const {
    ptx::fence_async_proxy();
    shared.query_ring().release();
  }

  FLASHMLA_DEVICE RowTotals totals(int r) const {
    return {r ? rows.max[1] : rows.max[0], r ? rows.sum[1] : rows.sum[0],
            r ? rows.rounded[1] : rows.rounded[0]};
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
};

}  // namespace flashmla::sm90::dense_decode::seesaw
