// The walk of the consumer warpgroup over its segments.
#pragma once

#include "sm90/attend/swap_ab/consumer.h"
#include "sm90/attend/swap_ab/segment_end.h"
#include "sm90/kernels/sparse_decode/query_rows.h"
#include "sm90/kernels/sparse_decode/swap_ab/shared_storage.h"

namespace flashmla::sm90::sparse_decode::swap_ab {

// The consumer of gathered blocks, whose tokens stand at the front.
template <class Room>
struct GatheredConsumer : attend::swap_ab::Consumer<Room> {
  using C = attend::swap_ab::Consumer<Room>;
  using C::block;
  using C::C;
  using C::p;
  using C::scores;
  using C::shared;
  using C::storage;

  // Waits for a segment, and loads its queries after all warps are done with the previous ones.
  FLASHMLA_DEVICE attend::TileSegment begin_segment(pipeline::UseCount n) {
    C::clear();
    shared.segment_ring().wait(n);
    const attend::TileSegment record =
        storage.segments[n.template slot_in<C::Storage::segment_slots>()];
    ptx::barrier_sync(attend::swap_ab::consumers_met, consumer_threads);
    if (threadIdx.x == 0)
      shared.segment_ring().release(n);
    if (!record.is_end()) {
      load_queries<Room::chunks, Room::rows, consumer_threads>(
          p, record, static_cast<int>(threadIdx.x), [&](int chunk) { return shared.query(chunk); });
      ptx::barrier_sync(attend::swap_ab::consumers_met, consumer_threads);
    }
    return record;
  }

  FLASHMLA_DEVICE BlockHeader wait_for_block() {
    shared.key_ring().wait(block);
    return storage.headers[block.template slot_in<C::Storage::key_slots>()];
  }

  FLASHMLA_DEVICE void attend_block(std::int32_t tokens) {
    C::multiply_queries();
    mask(tokens);
    C::raise_max();
    C::publish_weights();
    C::multiply_weights();
  }

  FLASHMLA_DEVICE void skip_block() {
    shared.key_ring().template release_to_cluster<1>(C::lane(), block);
    block.advance();
  }

 private:
  // Masks the scores behind the tokens of a block.
  FLASHMLA_DEVICE void mask(std::int32_t tokens) {
    if (p.scores.negated)
      scores.negate();
    if (tokens == block_tokens)
      return;
    const int token = C::warp() * tile::warp_rows + tile::own_row(C::lane());
#pragma unroll
    for (int i = 0; i < C::own_rows; ++i) {
      if (token >= tokens)
        scores.at(0, i) = ops::minus_infinity;
      if (token + tile::own_rows_apart >= tokens)
        scores.at(1, i) = ops::minus_infinity;
    }
  }
};

template <class Room>
FLASHMLA_DEVICE void consume(const Params& p, const typename Room::Shared& shared,
                             typename Room::Storage& storage) {
  GatheredConsumer<Room> c(p, shared, storage);
  for (pipeline::UseCount n;; n.advance()) {
    const attend::TileSegment record = c.begin_segment(n);
    if (record.is_end())
      break;
    BlockHeader header;
    do {
      header = c.wait_for_block();
      if (header.tokens > 0)
        c.attend_block(header.tokens);
      else
        c.skip_block();
    } while (!header.last);
    attend::swap_ab::SegmentEnd<Room>(c, record).finish();
  }
}

}  // namespace flashmla::sm90::sparse_decode::swap_ab
