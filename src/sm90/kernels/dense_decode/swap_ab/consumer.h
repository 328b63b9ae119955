// The consumer warpgroup of the kernel for tiles of 16 or 32 rows. Tokens are the 64 rows of its
// products, so that few heads waste no tensor time:
//   Sᵀ (64 tokens × rows) = K Qᵀ;  Oᵀ (512 × rows) += Vᵀ Pᵀ in eight products of 64 columns of V.
#pragma once

#include "sm90/kernels/dense_decode/swap_ab/shared_storage.h"
#include "sm90/ops/mask.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/pipeline/position.h"
#include "sm90/ptx/matrix.h"
#include "sm90/ptx/mma.h"
#include "sm90/ptx/warpgroup.h"
#include "sm90/ptx/wgmma.h"
#include "sm90/tile/gmma_descriptor.h"

namespace flashmla::sm90::dense_decode::swap_ab {

// A thread holds tokens t and t + 8 of a block, and of each group of 8 rows the two from
// 2 (lane % 4) on.
template <class T, int Chunks, int Rows, int ClusterSize>
struct Consumer {
  using Shared = SharedAddresses<Chunks, Rows>;
  using Storage = SharedStorage<Chunks, Rows>;
  static constexpr int groups = Rows / 8;
  static constexpr int own_rows = Rows / 4;
  static constexpr int v_chunks = v_dim / tile::chunk_columns;
  static constexpr int slot_chunks = Slot<Chunks>::chunks;
  static constexpr int slots_per_block = Slot<Chunks>::per_block;
  // Addresses as constants, for descriptors.
  static FLASHMLA_DEVICE Shared fixed() { return {shared_start}; }

  const Params& p;
  Shared shared;
  Storage& storage;
  float out[v_chunks][Rows / 2];  // 64 columns of V × rows each
  float scores[Rows / 2];         // 64 tokens × rows
  float max[own_rows];            // reference maximum of the thread's rows, scaled
  float sum[own_rows];            // Σ P of the thread's tokens
  float rounded[groups][4];  // Σ P, as it is rounded, of the warp's tokens: [row i % 2 and again]
  float factor[own_rows];
  pipeline::UseCount block;  // of all that the CTA does
  int turn = 0;

  FLASHMLA_DEVICE Consumer(const Params& params, const Shared& addresses, Storage& memory)
      : p(params), shared(addresses), storage(memory) {}

  static FLASHMLA_DEVICE int lane() { return threadIdx.x % 32; }
  static FLASHMLA_DEVICE int warp() { return threadIdx.x / 32; }
  // Row i of the thread's own_rows.
  static FLASHMLA_DEVICE int row(int i) { return i / 2 * 8 + lane() % 4 * 2 + i % 2; }

  // Before a segment, while it is waited for.
  FLASHMLA_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < v_chunks; ++i)
#pragma unroll
      for (float& value : out[i])
        value = 0;
#pragma unroll
    for (int i = 0; i < v_chunks; ++i)
      ptx::pin(out[i]);  // now, not when the scores are there
#pragma unroll
    for (int i = 0; i < own_rows; ++i) {
      max[i] = ops::lowest_max;
      sum[i] = 0;
    }
#pragma unroll
    for (int g = 0; g < groups; ++g)
#pragma unroll
      for (float& value : rounded[g])
        value = 0;
  }

  // Blocks take the halves of the ring in turns.
  FLASHMLA_DEVICE pipeline::SlotOfGroup<slots_per_block> at(int part) const {
    return {block, part};
  }
  FLASHMLA_DEVICE int first_slot() const { return at(0).template slot_in<Storage::slots>(); }

  // scores = K Qᵀ of the block, once it has arrived.
  FLASHMLA_DEVICE void multiply_queries() {
    const std::uint64_t keys = uniform_descriptor(tile::k_major(fixed().keys(first_slot())));
#pragma unroll
    for (int part = 0; part < slots_per_block; ++part) {
      shared.key_ring().wait(at(part));
      ptx::pin(scores);
      ptx::wgmma_fence();
#pragma unroll
      for (int chunk = part * slot_chunks; chunk < (part + 1) * slot_chunks; ++chunk)
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const std::uint64_t a = keys + chunk * (chunk_bytes >> 4) + k * tile::k_major_step;
          const std::uint64_t b = tile::k_major(fixed().query(chunk)) + k * tile::k_major_step;
          const int accumulate = chunk + k > 0;
          if constexpr (Rows == 16)
            ptx::wgmma_n16_ss<T>(scores, a, b, accumulate);
          else
            ptx::wgmma_n32_ss<T>(scores, a, b, accumulate);
        }
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::pin(scores);
  }

  // Combines each row's values over the warp's tokens.
  template <class Combine>
  static FLASHMLA_DEVICE void reduce_tokens(float (&values)[own_rows], Combine combine) {
#pragma unroll
    for (int distance = 4; distance < 32; distance *= 2)
#pragma unroll
      for (float& value : values)
        value = combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
  }

  // Shows the warp's values to the others.
  static FLASHMLA_DEVICE void publish(float (&exchange)[consumer_warps][Rows],
                                      const float (&values)[own_rows]) {
    if (lane() < 4) {
#pragma unroll
      for (int i = 0; i < own_rows; i += 2)
        *reinterpret_cast<float2*>(&exchange[warp()][row(i)]) = float2{values[i], values[i + 1]};
    }
  }

  // The largest of each row's values over all warps' tokens; every thread gets those of its rows.
  FLASHMLA_DEVICE void max_over_tokens(float (&values)[own_rows]) {
    reduce_tokens(values, [](float a, float b) { return fmaxf(a, b); });
    float(&exchange)[consumer_warps][Rows] = storage.exchange[turn];
    turn ^= 1;
    publish(exchange, values);
    ptx::barrier_sync(consumers_met, consumer_threads);
#pragma unroll
    for (int i = 0; i < own_rows; i += 2) {
      float2 all = *reinterpret_cast<const float2*>(&exchange[0][row(i)]);
#pragma unroll
      for (int w = 1; w < consumer_warps; ++w) {
        const float2 other = *reinterpret_cast<const float2*>(&exchange[w][row(i)]);
        all.x = fmaxf(all.x, other.x);
        all.y = fmaxf(all.y, other.y);
      }
      values[i] = all.x;
      values[i + 1] = all.y;
    }
  }

  // Masks the scores of the block that begins at `first_token`.
  FLASHMLA_DEVICE void mask(const TileSegment& segment, int first_token) {
    if (!p.negated && first_token + block_tokens <=
                          visible_tokens(p, segment.length, p.by_group.quotient(segment.first_row)))
      return;
    if (p.negated) {
#pragma unroll
      for (float& score : scores)
        score = -score;
    }
    const int token = first_token + warp() * 16 + lane() / 4;
#pragma unroll
    for (int i = 0; i < own_rows; ++i) {
      const int query_token = p.by_group.quotient(segment.first_row + row(i));
      const int seen = visible_tokens(p, segment.length, query_token);
      if (token >= seen)
        scores[i / 2 * 4 + i % 2] = ops::minus_infinity;
      if (token + 8 >= seen)
        scores[i / 2 * 4 + 2 + i % 2] = ops::minus_infinity;
    }
  }

  // Raises the maxima to those of the scores, and rescales the accumulators. NOTE: not lazily, for
  // then the largest weight is 1, which rounding leaves alone; with few rows there is little else
  // to average its error out, and rescaling is hidden behind memory.
  FLASHMLA_DEVICE void raise_max() {
    float block_max[own_rows];
#pragma unroll
    for (int i = 0; i < own_rows; ++i)
      block_max[i] = fmaxf(scores[i / 2 * 4 + i % 2], scores[i / 2 * 4 + 2 + i % 2]);
    max_over_tokens(block_max);
    bool raised = false;
#pragma unroll
    for (int i = 0; i < own_rows; ++i) {
      const float scaled = block_max[i] * p.scale;
      const bool rises = scaled > max[i];
      const float now = rises ? scaled : max[i];
      factor[i] = ptx::exp2(max[i] - now);
      raised |= rises && max[i] != ops::lowest_max;  // before any token all is 0
      max[i] = now;
    }
    if (!ops::any_in_warp(raised))
      return;
#pragma unroll
    for (int i = 0; i < own_rows; ++i) {
      sum[i] *= factor[i];
      rounded[i / 2][i % 2] *= factor[i];
      rounded[i / 2][i % 2 + 2] *= factor[i];
#pragma unroll
      for (int chunk = 0; chunk < v_chunks; ++chunk) {
        out[chunk][i / 2 * 4 + i % 2] *= factor[i];
        out[chunk][i / 2 * 4 + 2 + i % 2] *= factor[i];
      }
    }
  }

  // P = 2^(scale · score − max) to shared memory, as [row][token].
  FLASHMLA_DEVICE void publish_weights() {
    std::uint32_t packed[own_rows];
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      float w[4];
#pragma unroll
      for (int j = 0; j < 4; ++j)
        w[j] = ptx::exp2(fmaf(scores[4 * g + j], p.scale, -max[2 * g + j % 2]));
      sum[2 * g] += w[0] + w[2];
      sum[2 * g + 1] += w[1] + w[3];
      packed[2 * g] = ptx::pack<T>(w[0], w[1]);
      packed[2 * g + 1] = ptx::pack<T>(w[2], w[3]);
    }
    const int matrix = lane() / 8;
#pragma unroll
    for (int n = 0; n < Rows / 16; ++n) {
      const int head = n * 16 + matrix / 2 * 8 + lane() % 8;
      ptx::store_matrices_transposed(
          shared.weights() + tile::swizzled(head, warp() * 2 + matrix % 2), packed[4 * n],
          packed[4 * n + 1], packed[4 * n + 2], packed[4 * n + 3]);
    }
    sum_rounded(packed);
  }

  // Adds up P as it was rounded, a product of the warp with ones.
  FLASHMLA_DEVICE void sum_rounded(const std::uint32_t (&packed)[own_rows]) {
    const std::uint32_t one = ptx::pack<T>(1, 1);
    const std::uint32_t ones[4] = {one, one, one, one};
#pragma unroll
    for (int g = 0; g < groups; ++g)
      ptx::multiply_matrices<T>(rounded[g], ones, ptx::transpose_matrix(packed[2 * g]),
                                ptx::transpose_matrix(packed[2 * g + 1]));
  }

  // Zeroes V past the end of the request: P is 0 there, but 0 · NaN is not.
  FLASHMLA_DEVICE void clear_tail(int rows_there) {
    if (rows_there >= block_tokens)
      return;
    const std::uint32_t keys = shared.keys(first_slot());
    for (int r = max_of(rows_there, 0) + threadIdx.x / tile::units_per_row; r < block_tokens;
         r += consumer_threads / tile::units_per_row)
#pragma unroll
      for (int chunk = 0; chunk < v_chunks; ++chunk)
        ptx::store_shared(keys + chunk * chunk_bytes + r * tile::row_bytes +
                              threadIdx.x % tile::units_per_row * tile::unit_bytes,
                          uint4{});
  }

  // Oᵀ += Vᵀ Pᵀ, once all of P is there; gives the block's slots back.
  FLASHMLA_DEVICE void multiply_weights() {
    ptx::fence_async_proxy();
    ptx::barrier_sync(consumers_met, consumer_threads);
    const std::uint64_t values =
        uniform_descriptor(tile::transposed(fixed().keys(first_slot()), chunk_bytes));
    const std::uint64_t weights = tile::k_major(fixed().weights());
#pragma unroll
    for (int chunk = 0; chunk < v_chunks; ++chunk)
      ptx::pin(out[chunk]);
    ptx::wgmma_fence();
#pragma unroll
    for (int chunk = 0; chunk < v_chunks; ++chunk)
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const std::uint64_t a = values + chunk * (chunk_bytes >> 4) + k * tile::transposed_step;
        const std::uint64_t b = weights + k * tile::k_major_step;
        if constexpr (Rows == 16)
          ptx::wgmma_n16_ts<T>(out[chunk], a, b, 1);
        else
          ptx::wgmma_n32_ts<T>(out[chunk], a, b, 1);
      }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
#pragma unroll
    for (int chunk = 0; chunk < v_chunks; ++chunk)
      ptx::pin(out[chunk]);
#pragma unroll
    for (int part = 0; part < slots_per_block; ++part)
      shared.key_ring().template release_to_cluster<ClusterSize>(lane(), at(part));
    block.advance();
  }

 private:
  static FLASHMLA_DEVICE int max_of(int a, int b) { return a < b ? b : a; }

  // NOTE: descriptors that the compiler does not know to be uniform cost registers and moves.
  static FLASHMLA_DEVICE std::uint64_t uniform_descriptor(std::uint64_t descriptor) {
    const std::uint32_t low = ptx::uniform(static_cast<std::uint32_t>(descriptor));
    return (descriptor & 0xFFFFFFFF00000000ull) | low;
  }
};

}  // namespace flashmla::sm90::dense_decode::swap_ab
