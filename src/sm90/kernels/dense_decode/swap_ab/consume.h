// The walk of the consumer warpgroup over its segments.
#pragma once

#include "sm90/attend/swap_ab/consumer.h"
#include "sm90/attend/swap_ab/segment_end.h"
#include "sm90/kernels/dense_decode/swap_ab/shared_storage.h"

namespace flashmla::sm90::dense_decode::swap_ab {

// What attend::swap_ab::Consumer knows of this kernel.
template <class T, int Chunks, int Rows, int ClusterSize>
struct Room {
  using Type = T;
  static constexpr int chunks = Chunks;
  static constexpr int rows = Rows;
  static constexpr int slots_per_block = Slot<Chunks>::per_block;
  static constexpr int cluster_size = ClusterSize;
  static constexpr int paired_chunks = 0;
  static constexpr bool sums_rounded = true;
  static constexpr int score_groups = 1;
  static constexpr int value_groups = 1;
  static constexpr int scorers_met = consumers_met;
  static constexpr int finishers_met = consumers_met;
  static constexpr bool two_warpgroups = false;
  using Params = dense_decode::Params;
  using Storage = SharedStorage<Chunks, Rows>;
  using Shared = SharedAddresses<Chunks, Rows>;
};

// The consumer of paged caches, whose last block may end inside of a page.
template <class Room>
struct PagedConsumer : attend::swap_ab::Consumer<Room> {
  using C = attend::swap_ab::Consumer<Room>;
  using C::C;
  using C::p;
  using C::scores;

  // Masks the scores of the block that begins at `first_token`.
  FLASHMLA_DEVICE void mask(const TileSegment& segment, int first_token) {
    if (!p.scores.negated &&
        first_token + block_tokens <=
            p.scores.visible_tokens(p.rows, segment.length,
                                    p.rows.by_group.quotient(segment.first_row)))
      return;
    if (p.scores.negated)
      scores.negate();
    const int token = first_token + C::warp() * tile::warp_rows + tile::own_row(C::lane());
#pragma unroll
    for (int i = 0; i < C::own_rows; ++i) {
      const int query_token = p.rows.by_group.quotient(segment.first_row + C::row(i));
      const int seen = p.scores.visible_tokens(p.rows, segment.length, query_token);
      if (token >= seen)
        scores.at(0, i) = ops::minus_infinity;
      if (token + tile::own_rows_apart >= seen)
        scores.at(1, i) = ops::minus_infinity;
    }
  }

  // Sets V to 0 behind the end of the request: P is 0 there, but 0 · NaN is not.
  FLASHMLA_DEVICE void clear_tail(int rows_there) {
    if (rows_there >= block_tokens)
      return;
    const std::uint32_t keys = C::shared.keys(C::first_slot());
    for (int r = schedule::larger(rows_there, 0) + threadIdx.x / tile::units_per_row;
         r < block_tokens; r += consumer_threads / tile::units_per_row)
#pragma unroll
      for (int chunk = 0; chunk < C::v_chunks; ++chunk)
        ptx::store_shared(keys + chunk * chunk_bytes + r * tile::row_bytes +
                              threadIdx.x % tile::units_per_row * tile::unit_bytes,
                          uint4{});
  }
};

template <class T, int Chunks, int Rows, int ClusterSize>
FLASHMLA_DEVICE void consume(const Params& p, const SharedAddresses<Chunks, Rows>& shared,
                             SharedStorage<Chunks, Rows>& storage) {
  using R = Room<T, Chunks, Rows, ClusterSize>;
  PagedConsumer<R> c(p, shared, storage);
  for (pipeline::UseCount n;; n.advance()) {
    c.clear();
    const TileSegment record = storage.segments.wait(n);
    if (record.is_end())
      break;
    shared.query_ring().wait(n);
    int first_token = record.first_block * block_tokens;
#pragma unroll 1
    for (int i = 0; i < record.blocks; ++i, first_token += block_tokens) {
      c.multiply_queries();
      c.mask(record, first_token);
      if (c.raise_max())
        c.rescale_out();
      c.publish_weights(shared.weights());
      c.clear_tail(record.length - first_token);
      ptx::fence_async_proxy();
      ptx::barrier_sync(consumers_met, consumer_threads);
      c.multiply_weights(tile::k_major(decltype(c)::fixed().weights()));
      c.release_block();
    }
    attend::swap_ab::SegmentEnd<PagedConsumer<R>>(c, record).finish();
  }
}

}  // namespace flashmla::sm90::dense_decode::swap_ab
