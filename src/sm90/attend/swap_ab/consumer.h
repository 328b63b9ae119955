// The consumer warpgroup of the kernel for tiles of 16 or 32 rows. Tokens are the 64 rows of its
// products, so that few heads waste no tensor time:
//   Sᵀ (64 tokens × rows) = K Qᵀ;  Oᵀ (512 × rows) += Vᵀ Pᵀ in eight products of 64 columns of V.
#pragma once

#include "sm90/attend/call.h"
#include "sm90/attend/uniform_descriptor.h"
#include "sm90/ops/accumulator.h"
#include "sm90/ops/mask.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/pipeline/position.h"
#include "sm90/ptx/matrix.h"
#include "sm90/ptx/mma.h"
#include "sm90/ptx/warpgroup.h"
#include "sm90/ptx/wgmma.h"
#include "sm90/tile/fragment.h"
#include "sm90/tile/gmma_descriptor.h"
#include "sm90/tile/limits.h"

namespace flashmla::sm90::attend::swap_ab {

inline constexpr int consumer_warps = 4;
inline constexpr int consumer_threads = 128;
inline constexpr std::uint32_t chunk_bytes = block_tokens * tile::row_bytes;

// So rows of the tile are columns of the accumulators. The own columns of a thread are rows of the
// tile, and its own rows are two tokens or two columns of V.
//
// `Room` is what a kernel has around its consumers:
//   Type               of q, P and V: __nv_bfloat16 or __half
//   chunks, rows       of 64 columns of the queries; of the tile, 16 or 32
//   slots_per_block    slots of the ring of keys that a block fills, one after the other
//   cluster_size       CTAs that share the ring of keys
//   Params             with `rows`, `output`, `partials` and `scores` of call.h
//   Storage            shared memory: key_slots (of the ring of keys), exchange, sum, divisor,
//   out_of_range,
//                      row_max, row_factor
//   Shared             shared addresses: keys(slot), query(chunk), key_ring()
//   scorers_met, finishers_met  named barriers of the threads that compute scores, and of those
//   that
//                      finish segments
//   paired_chunks      of V, the first ones, whose columns lie in pairs in the accumulators
//                      (ops/code_operand.h); 0 where all operands come from shared memory
//   sums_rounded       whether publish_weights() is used, which adds up the rounded P
//   score_groups       warpgroups that compute scores, 1 or 2, each of its own blocks
//   value_groups       warpgroups that divide the chunks of V among them, 1 or 2
//   two_warpgroups     whether some warpgroups compute scores and P, and others multiply P with V.
//                      With one warpgroup for both, both barriers may be the same
template <class Room>
struct Consumer {
  using RoomType = Room;
  using T = typename Room::Type;
  using Params = typename Room::Params;
  using Shared = typename Room::Shared;
  using Storage = typename Room::Storage;
  static constexpr int rows = Room::rows;
  static constexpr int groups = rows / 8;
  using Scores = ops::Accumulator<rows>;
  static constexpr int own_rows = Scores::own_columns;
  // Of V, that the warpgroup has.
  static constexpr int v_chunks = v_dim / tile::chunk_columns / Room::value_groups;
  static constexpr int score_warps = Room::score_groups * consumer_warps;
  static constexpr int slots_per_block = Room::slots_per_block;
  static constexpr int slot_chunks = Room::chunks / slots_per_block;
  // Shared addresses as constants, so that descriptors take no registers.
  static FLASHMLA_DEVICE Shared fixed() { return {tile::shared_start}; }

  const Params& p;
  Shared shared;
  Storage& storage;
  ops::Accumulator<rows> out[v_chunks];  // 64 columns of V × rows each
  Scores scores;                         // 64 tokens × rows
  float max[own_rows];                   // reference maximum of the thread's rows, scaled
  float sum[own_rows];                   // Σ P of the thread's tokens
  // Σ of the rounded P over the tokens of the warp. Own rows 0 and 1 are equal, and own column i is
  // row i of the group.
  ops::Accumulator<8> rounded[groups];
  float factor[own_rows];
  pipeline::UseCount block;  // number of blocks that the CTA has computed
  int turn = 0;

  FLASHMLA_DEVICE Consumer(const Params& params, const Shared& addresses, Storage& memory)
      : p(params), shared(addresses), storage(memory) {}

  static FLASHMLA_DEVICE int lane() { return threadIdx.x % 32; }
  // Thread and warp of the warpgroup. Where there is only one, its threads come first.
  static FLASHMLA_DEVICE int thread() {
    return Room::two_warpgroups ? threadIdx.x % consumer_threads : threadIdx.x;
  }
  static FLASHMLA_DEVICE int warp() { return thread() / 32; }
  // The number of the warpgroup among those that compute scores. They come first.
  static FLASHMLA_DEVICE int score_group() {
    return Room::score_groups == 1 ? 0 : threadIdx.x / consumer_threads;
  }
  static FLASHMLA_DEVICE int score_warp() { return score_group() * consumer_warps + warp(); }
  // The number of the warpgroup among those that divide the chunks of V. They stand behind those
  // that compute scores. All lanes of a warp call this together.
  static FLASHMLA_DEVICE int value_group() {
    return Room::value_groups == 1
               ? 0
               : static_cast<int>(ptx::uniform(threadIdx.x / consumer_threads)) -
                     Room::score_groups;
  }
  // The row of the tile that is row i of the thread's own_rows.
  static FLASHMLA_DEVICE int row(int i) {
    return tile::columns_before(i) + tile::own_column(lane() % tile::quad_lanes);
  }
  // The swizzled offset in a chunk of the matrix row that this lane addresses, for rows 16n … 16n +
  // 15 of the tile. Rows of the accumulator become columns of the chunk. `matrix` is lane() /
  // tile::matrix_rows.
  static FLASHMLA_DEVICE std::uint32_t matrix_row(int matrix, int n) {
    return tile::swizzled(n * 16 + tile::transposed_matrix_row(matrix, lane()),
                          warp() * 2 + tile::transposed_matrix_unit(matrix));
  }

  // Prepares a segment, while the warp waits for it.
  FLASHMLA_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < v_chunks; ++i)
      out[i].clear();
#pragma unroll
    for (int i = 0; i < v_chunks; ++i)
      out[i].pin();  // the clearing happens here, not after the scores
#pragma unroll
    for (int i = 0; i < own_rows; ++i) {
      max[i] = ops::lowest_max;
      sum[i] = 0;
    }
    if constexpr (Room::sums_rounded)
#pragma unroll
      for (int g = 0; g < groups; ++g)
        rounded[g].clear();
  }

  // Even blocks use the first half of the ring, odd blocks the second half.
  FLASHMLA_DEVICE pipeline::SlotOfGroup<slots_per_block> at(int part) const {
    return {block, part};
  }
  FLASHMLA_DEVICE int first_slot() const { return at(0).template slot_in<Storage::key_slots>(); }

  // scores = K Qᵀ of the block, after the block has arrived.
  FLASHMLA_DEVICE void multiply_queries() {
    const std::uint64_t keys = uniform_descriptor(tile::k_major(fixed().keys(first_slot())));
#pragma unroll
    for (int part = 0; part < slots_per_block; ++part) {
      shared.key_ring().wait(at(part));
      scores.pin();
      ptx::wgmma_fence();
#pragma unroll
      for (int chunk = part * slot_chunks; chunk < (part + 1) * slot_chunks; ++chunk)
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const std::uint64_t a = keys + chunk * (chunk_bytes >> 4) + k * tile::k_major_step;
          const std::uint64_t b = tile::k_major(fixed().query(chunk)) + k * tile::k_major_step;
          const int accumulate = chunk + k > 0;
          if constexpr (rows == 16)
            ptx::wgmma_n16_ss<T>(scores.value, a, b, accumulate);
          else
            ptx::wgmma_n32_ss<T>(scores.value, a, b, accumulate);
        }
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    scores.pin();
  }

  // Combines the values of each row over the tokens of the warp.
  template <class Combine>
  static FLASHMLA_DEVICE void reduce_tokens(float (&values)[own_rows], Combine combine) {
#pragma unroll
    for (int distance = tile::quad_lanes; distance < 32; distance *= 2)
#pragma unroll
      for (float& value : values)
        value = combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
  }

  // Shows the values of the warp to the other warps.
  static FLASHMLA_DEVICE void publish(float (&exchange)[score_warps][rows], int warp,
                                      const float (&values)[own_rows]) {
    if (lane() < tile::quad_lanes) {
#pragma unroll
      for (int i = 0; i < own_rows; i += 2)
        *reinterpret_cast<float2*>(&exchange[warp][row(i)]) = float2{values[i], values[i + 1]};
    }
  }

  // The largest value of each row over the tokens of all warps. Every thread gets the values of its
  // own rows. meet() waits for the other warps.
  template <class Meet>
  FLASHMLA_DEVICE void max_over_tokens(float (&values)[own_rows], Meet meet) {
    reduce_tokens(values, [](float a, float b) { return fmaxf(a, b); });
    float(&exchange)[score_warps][rows] = storage.exchange[turn];
    turn ^= 1;
    publish(exchange, score_warp(), values);
    meet();
#pragma unroll
    for (int i = 0; i < own_rows; i += 2) {
      float2 all = *reinterpret_cast<const float2*>(&exchange[0][row(i)]);
#pragma unroll
      for (int w = 1; w < score_warps; ++w) {
        const float2 other = *reinterpret_cast<const float2*>(&exchange[w][row(i)]);
        all.x = fmaxf(all.x, other.x);
        all.y = fmaxf(all.y, other.y);
      }
      values[i] = all.x;
      values[i + 1] = all.y;
    }
  }

  // Raises the maxima to those of the scores, and rescales the sums. Returns whether `out` has to
  // be multiplied by `factor`. NOTE: the maxima always rise, not only beyond a threshold. The
  // largest weight is then 1, which rounding does not change. With few rows the error of this
  // weight would not average out, and rescaling is hidden behind loads.
  FLASHMLA_DEVICE bool raise_max() {
    float block_max[own_rows];
    max_of_own(block_max);
    max_over_tokens(block_max, [] { ptx::barrier_sync(Room::scorers_met, consumer_threads); });
    return raise_max_to(block_max);
  }
  // The largest score of each own row over the own tokens.
  FLASHMLA_DEVICE void max_of_own(float (&values)[own_rows]) const {
#pragma unroll
    for (int i = 0; i < own_rows; ++i)
      values[i] = fmaxf(scores.at(0, i), scores.at(1, i));
  }
  FLASHMLA_DEVICE bool raise_max_to(const float (&block_max)[own_rows]) {
    bool raised = false;
#pragma unroll
    for (int i = 0; i < own_rows; ++i) {
      const float scaled = block_max[i] * p.scores.scale;
      const bool rises = scaled > max[i];
      const float now = rises ? scaled : max[i];
      factor[i] = ptx::exp2(max[i] - now);
      raised |=
          rises && max[i] != ops::lowest_max;  // before the first token all accumulators are 0
      max[i] = now;
    }
    if (!ops::any_in_warp(raised))
      return false;
#pragma unroll
    for (int i = 0; i < own_rows; ++i) {
      sum[i] *= factor[i];
      if constexpr (Room::sums_rounded)
        rounded[i / 2].rescale_column(i % 2, factor[i]);
    }
    return true;
  }

  FLASHMLA_DEVICE void rescale_out() {
#pragma unroll
    for (int i = 0; i < own_rows; ++i)
#pragma unroll
      for (int chunk = 0; chunk < v_chunks; ++chunk)
        out[chunk].rescale_column(i, factor[i]);
  }

  // Writes P = 2^(scale · score − max) to `target` in shared memory, as [row][token].
  FLASHMLA_DEVICE void publish_weights(std::uint32_t target) {
    std::uint32_t packed[groups][2];  // [pair of own columns][own row]
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      float w[2][2];  // [own row][own column]
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          w[r][i] = ptx::exp2(fmaf(scores.at(r, 2 * g + i), p.scores.scale, -max[2 * g + i]));
      sum[2 * g] += w[0][0] + w[1][0];
      sum[2 * g + 1] += w[0][1] + w[1][1];
      packed[g][0] = ptx::pack<T>(w[0][0], w[0][1]);
      packed[g][1] = ptx::pack<T>(w[1][0], w[1][1]);
    }
    const int matrix = lane() / tile::matrix_rows;
#pragma unroll
    for (int n = 0; n < rows / 16; ++n)
      ptx::store_matrices_transposed(target + matrix_row(matrix, n), packed[2 * n][0],
                                     packed[2 * n][1], packed[2 * n + 1][0], packed[2 * n + 1][1]);
    sum_rounded(packed);
  }

  // Adds up the rounded P by a product of the warp with ones.
  FLASHMLA_DEVICE void sum_rounded(const std::uint32_t (&packed)[groups][2]) {
    const std::uint32_t one = ptx::pack<T>(1, 1);
    const std::uint32_t ones[4] = {one, one, one, one};
#pragma unroll
    for (int g = 0; g < groups; ++g)
      ptx::multiply_matrices<T>(rounded[g].value, ones, ptx::transpose_matrix(packed[g][0]),
                                ptx::transpose_matrix(packed[g][1]));
  }

  // Oᵀ += Vᵀ Pᵀ, after all of P has been written. `weights` is the descriptor of P.
  FLASHMLA_DEVICE void multiply_weights(std::uint64_t weights) {
    const std::uint64_t values =
        uniform_descriptor(tile::transposed(fixed().keys(first_slot()), chunk_bytes));
#pragma unroll
    for (int chunk = 0; chunk < v_chunks; ++chunk)
      out[chunk].pin();
    ptx::wgmma_fence();
#pragma unroll
    for (int chunk = 0; chunk < v_chunks; ++chunk)
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const std::uint64_t a = values + chunk * (chunk_bytes >> 4) + k * tile::transposed_step;
        const std::uint64_t b = weights + k * tile::k_major_step;
        if constexpr (rows == 16)
          ptx::wgmma_n16_ts<T>(out[chunk].value, a, b, 1);
        else
          ptx::wgmma_n32_ts<T>(out[chunk].value, a, b, 1);
      }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
#pragma unroll
    for (int chunk = 0; chunk < v_chunks; ++chunk)
      out[chunk].pin();
  }

  // Writes what the warp knows of each row for SegmentEnd.
  FLASHMLA_DEVICE void publish_totals() {
    float divisors[own_rows];
#pragma unroll
    for (int i = 0; i < own_rows; ++i)
      divisors[i] = rounded[i / 2].at(0, i % 2);
    publish_totals(divisors);
  }
  // `divisors` are the sums of the rounded P over the tokens of the warp.
  FLASHMLA_DEVICE void publish_totals(const float (&divisors)[own_rows]) {
    reduce_tokens(sum, [](float a, float b) { return a + b; });
    publish(storage.sum, score_warp(), sum);
    publish(storage.divisor, score_warp(), divisors);
    // The maximum of every row too. All threads that hold it have the same value.
    if (score_warp() == 0 && lane() < tile::quad_lanes)
#pragma unroll
      for (int i = 0; i < own_rows; ++i)
        storage.row_max[row(i)] = max[i];
  }

  // Gives the slots of the block back.
  FLASHMLA_DEVICE void release_block() {
#pragma unroll
    for (int part = 0; part < slots_per_block; ++part)
      shared.key_ring().template release_to_cluster<Room::cluster_size>(lane(), at(part));
    block.advance();
  }
};

}  // namespace flashmla::sm90::attend::swap_ab
