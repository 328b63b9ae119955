// The leader: it computes the scores and P of every block, and columns 0 … 255 of V. Its order on
// the tensor cores:
//   QK of a block | PV of it (P from registers) | QK of the next block.
// The follower multiplies the same P with the other columns of V, beside the leader's next QK and
// softmax.
#pragma once

#include "sm90/kernels/sparse_decode/halves/half_tile.h"
#include "sm90/kernels/sparse_decode/query_rows.h"
#include "sm90/ops/mask.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/pipeline/warp_arrival.h"

namespace flashmla::sm90::sparse_decode::halves {

template <class Format>
class Leader : HalfThread {
  using T = __nv_bfloat16;
  using Shared = SharedAddresses<Format>;
  using Storage = SharedStorage<Format>;
  static constexpr int chunks = Format::chunks;
  static constexpr int v_chunks = 2 * attend::half_chunks;
  static FLASHMLA_DEVICE Shared fixed() { return {tile::shared_start}; }

 public:
  FLASHMLA_DEVICE Leader(const Params& params, const Shared& addresses, Storage& memory)
      : p(params), shared(addresses), storage(memory) {}

  FLASHMLA_DEVICE void lead_all() {
    for (pipeline::UseCount n;; n.advance()) {
      out.clear();
      rows.reset();
      const attend::TileSegment record = take_segment<Storage>(shared, storage, n);
      if (record.is_end())
        return;
      shared.totals_ring().acquire(n);
      ptx::barrier_sync(leader_met, warpgroup_threads);  // the results before it are out
      load_queries<chunks, tile_rows, warpgroup_threads>(
          p, record, thread(), [&](int chunk) { return shared.query(chunk); });
      ptx::barrier_sync(leader_met, warpgroup_threads);
      lead_segment();
      finish(record, n);
    }
  }

 private:
  FLASHMLA_DEVICE int slot() const { return block.template slot_in<Storage::key_slots>(); }

  // A segment has blocks without tokens only where it has no other ones.
  FLASHMLA_DEVICE void lead_segment() {
    wait_for_keys(left);
    BlockHeader header = storage.rings.headers[left][slot()];
    if (header.tokens == 0) {
      release(left);
      block.advance();
      return;
    }
    multiply_queries();
    ptx::wgmma_wait<0>();
    scores.pin();
#pragma unroll 1
    for (bool more = true; more;) {
      softmax(header.tokens);
      if (rescales)
        out.rescale(factor);
      multiply_weights();
      show_weights();
      // NOTE: the keys are given back before the wait for the next ones. The gathering warps fill
      // the ring in turn with the tensor cores, and this wait is their time.
      ptx::wgmma_wait<0>();
      out.pin();
      release(left);
      ops::sum_rounded<T>(weights, rows);
      block.advance();
      more = !header.last;
      if (more) {
        wait_for_keys(left);
        header = storage.rings.headers[left][slot()];
        multiply_queries();
        ptx::wgmma_wait<0>();
        scores.pin();
      }
    }
  }

  // Other warps have written the keys, and the tensor cores read them.
  FLASHMLA_DEVICE void wait_for_keys(int part) const {
    shared.key_ring(part).wait(block);
    ptx::fence_async_proxy();
  }

  // scores = Q Kᵀ of the block. Its left part has arrived.
  FLASHMLA_DEVICE void multiply_queries() {
    const std::uint64_t keys = attend::uniform_descriptor(tile::k_major(fixed().keys(slot())));
    multiply_chunks<0, attend::half_chunks>(keys);
    if constexpr (chunks > v_chunks)
      multiply_chunks<v_chunks, chunks>(keys);
    wait_for_keys(right);
    multiply_chunks<attend::half_chunks, v_chunks>(keys);
    ptx::wgmma_commit();
    scores.pin();
  }
  template <int First, int End>
  FLASHMLA_DEVICE void multiply_chunks(std::uint64_t keys) {
    scores.pin();
    ptx::wgmma_fence();
#pragma unroll
    for (int chunk = First; chunk < End; ++chunk)
#pragma unroll
      for (int k = 0; k < 4; ++k)
        ptx::wgmma_n64_ss<T>(
            scores.value, tile::k_major(fixed().query(chunk)) + k * tile::k_major_step,
            keys + chunk * (chunk_bytes >> 4) + k * tile::k_major_step, chunk + k > 0);
  }

  // Masks the scores behind the tokens of the block, and turns them into P in registers.
  FLASHMLA_DEVICE void softmax(std::int32_t tokens) {
    if (p.scores.negated)
      scores.negate();
    if (tokens < block_tokens)
      ops::mask_scores(scores.value, tile::own_column(lane() % tile::quad_lanes), tokens, tokens);
    rescales = ops::raise_max(scores.value, p.scores.scale, rows, factor);
    ops::exponentiate<T>(scores.value, p.scores.scale, rows, weights);
  }

  // out += P V, with P from registers.
  FLASHMLA_DEVICE void multiply_weights() {
    out.pin();
    ptx::pin_matrix(weights);
    ptx::wgmma_fence();
    const std::uint64_t values = values_of(fixed(), slot(), left);
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
      for (int quarter = 0; quarter < 2; ++quarter)
        ptx::wgmma_n128_rt<T>(out.quarters[quarter].value, weights[k],
                              values + quarter * quarter_step + k * tile::transposed_step, 1);
    ptx::wgmma_commit();
    out.pin();
  }

  // Writes P and the factors for the follower.
  FLASHMLA_DEVICE void show_weights() {
    shared.weight_ring().acquire(shown);
#pragma unroll
    for (int k = 0; k < 4; ++k)
      ptx::store_matrices(shared.weights() + matrix_row(k), weights[k][0], weights[k][1],
                          weights[k][2], weights[k][3]);
    if (first_of_quad()) {
      ptx::store_shared(shared.factor(row()), rescales ? factor[0] : 1.0f);
      ptx::store_shared(shared.factor(row() + tile::own_rows_apart), rescales ? factor[1] : 1.0f);
    }
    ptx::fence_async_proxy();
    shared.weight_ring().commit();
    shown.advance();
  }

  FLASHMLA_DEVICE void release(int part) {
    pipeline::arrive_as_warp([&] { shared.key_ring(part).release(block); });
  }

  FLASHMLA_DEVICE void finish(const attend::TileSegment& record, pipeline::UseCount n) {
    // No warp reads the last chunk of the queries any more.
    ptx::barrier_sync(leader_met, warpgroup_threads);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      rows.sum[r] = ops::sum_in_quad(rows.sum[r]);
      rows.rounded[r] = ops::sum_in_quad(rows.rounded[r]);
      if (first_of_quad()) {
        const int own = row() + tile::own_rows_apart * r;
        ptx::store_shared(shared.totals(0, own), rows.max[r]);
        ptx::store_shared(shared.totals(1, own), rows.sum[r]);
        ptx::store_shared(shared.totals(2, own), rows.rounded[r]);
      }
    }
    // Also: no warp of the leader reads the queries any more.
    shared.totals_ring().commit(n);
    const int r = finished_row();
    const attend::RowTotals totals{r ? rows.max[1] : rows.max[0], r ? rows.sum[1] : rows.sum[0],
                                   r ? rows.rounded[1] : rows.rounded[0]};
    attend::HalfResults<T, Params, Shared, HalfAccumulator> results(p, shared, out, left, record);
    if (record.partial >= 0)
      results.write_partial(totals, [] {});
    else
      results.write_output(totals, [] {});
  }

  const Params& p;
  Shared shared;
  Storage& storage;
  HalfAccumulator out;
  ops::Accumulator<64> scores;  // 64 rows × 64 tokens
  std::uint32_t weights[4][4];  // P, as operands A of 16 columns
  ops::RowState rows;
  bool rescales;    // maxima of the warp's rows have risen
  float factor[2];  // of the two own rows, set where rescales is true
  pipeline::UseCount block;
  pipeline::UseCount shown;  // how often P has been shown
};

}  // namespace flashmla::sm90::sparse_decode::halves
