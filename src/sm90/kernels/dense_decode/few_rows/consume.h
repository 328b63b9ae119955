// The consumer warpgroup's walk over its segments, and how a segment ends: with the rows' results
// in the output or the run workspace.
#pragma once

#include "sm90/kernels/dense_decode/few_rows/consumer.h"
#include "sm90/kernels/dense_decode/result_rows.h"

namespace flashmla::sm90::dense_decode::few_rows {

// What each row's accumulators are multiplied by goes to c.factor; writes the lse.
template <class T, int Chunks, int Rows, int ClusterSize>
FLASHMLA_DEVICE void finish_rows(Consumer<T, Chunks, Rows, ClusterSize>& c,
                                 const SegmentRecord& segment) {
  using C = Consumer<T, Chunks, Rows, ClusterSize>;
  C::reduce_tokens(c.sum, [](float a, float b) { return a + b; });
  float(&exchange)[consumer_warps][Rows] = c.storage.exchange[c.turn];
  c.turn ^= 1;
  C::publish(exchange, c.sum);
  // Every row's maximum, too: the threads that hold it have the same.
  if (C::warp() == 0 && C::lane() < 4)
#pragma unroll
    for (int i = 0; i < C::own_rows; ++i)
      c.storage.row_max[C::row(i)] = c.max[i];
  ptx::barrier_sync(consumers_met, consumer_threads);
  if (threadIdx.x < Rows) {
    float total = 0;
#pragma unroll
    for (int w = 0; w < consumer_warps; ++w)
      total += exchange[w][threadIdx.x];
    c.storage.row_factor[threadIdx.x] =
        ResultRow(c.p, segment, threadIdx.x).finish(c.storage.row_max[threadIdx.x], total, true);
  }
  ptx::barrier_sync(consumers_met, consumer_threads);
#pragma unroll
  for (int i = 0; i < C::own_rows; ++i)
    c.factor[i] = c.storage.row_factor[C::row(i)];
}

// The rows, rounded, as chunks in the place of the queries: transposed matrices have rows as rows.
template <class T, int Chunks, int Rows, int ClusterSize>
FLASHMLA_DEVICE void stage_rows(const Consumer<T, Chunks, Rows, ClusterSize>& c) {
  using C = Consumer<T, Chunks, Rows, ClusterSize>;
  const int matrix = C::lane() / 8;
#pragma unroll
  for (int n = 0; n < Rows / 16; ++n)
#pragma unroll
    for (int chunk = 0; chunk < C::v_chunks; ++chunk) {
      std::uint32_t words[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int g = 2 * n + j / 2;
        const float* o = c.out[chunk] + 4 * g + j % 2 * 2;
        words[j] = ptx::pack<T>(o[0] * c.factor[2 * g], o[1] * c.factor[2 * g + 1]);
      }
      ptx::store_matrices_transposed(
          c.shared.query(chunk) +
              tile::swizzled(n * 16 + matrix / 2 * 8 + C::lane() % 8, C::warp() * 2 + matrix % 2),
          words[0], words[1], words[2], words[3]);
    }
}

// Writes the rows, to the output or as a partial result; then the place of the queries is free.
template <class T, int Chunks, int Rows, int ClusterSize>
FLASHMLA_DEVICE void finish_segment(Consumer<T, Chunks, Rows, ClusterSize>& c,
                                    const SegmentRecord& segment) {
  using C = Consumer<T, Chunks, Rows, ClusterSize>;
  finish_rows(c, segment);
  stage_rows(c);
  ptx::barrier_sync(consumers_met, consumer_threads);
  // A warp writes every fourth row, in two pieces.
  write_rows<Rows / consumer_warps, consumer_warps, 2>(
      c.p, segment, C::warp(), C::lane() * 8,
      [&](int row, int piece) {
        return c.shared.query(piece * 4 + C::lane() / tile::units_per_row) +
               tile::swizzled(row, C::lane() % tile::units_per_row);
      },
      [&] {
        ptx::fence_async_proxy();
        ptx::mbarrier_arrive(c.shared.query_free());
      });
}

template <class T, int Chunks, int Rows, int ClusterSize>
FLASHMLA_DEVICE void consume(const Params& p, const SharedAddresses<Chunks, Rows>& shared,
                             SharedStorage<Chunks, Rows>& storage) {
  Consumer<T, Chunks, Rows, ClusterSize> c(p, shared, storage);
  for (std::uint32_t n = 0;; ++n) {
    c.clear();
    const SegmentRecord record = storage.segments.wait(n);
    if (record.request == no_more_segments)
      break;
    ptx::mbarrier_wait(shared.query_ready(), n & 1);
    int first_token = record.first_block * block_tokens;
#pragma unroll 1
    for (int i = 0; i < record.blocks; ++i, first_token += block_tokens) {
      c.multiply_queries();
      c.mask(record, first_token);
      c.raise_max();
      c.publish_weights();
      c.clear_tail(record.length - first_token);
      c.multiply_weights();
    }
    finish_segment(c, record);
  }
}

}  // namespace flashmla::sm90::dense_decode::few_rows
