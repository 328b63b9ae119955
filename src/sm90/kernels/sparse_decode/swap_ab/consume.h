// The two consumer warpgroups. The scorers compute the scores and P of every block. The valuers
// multiply P with V, one block behind, and write the results.
#pragma once

#include "sm90/attend/swap_ab/consumer.h"
#include "sm90/attend/swap_ab/segment_end.h"
#include "sm90/kernels/sparse_decode/query_rows.h"
#include "sm90/kernels/sparse_decode/swap_ab/shared_storage.h"
#include "sm90/pipeline/warp_arrival.h"

namespace flashmla::sm90::sparse_decode::swap_ab {

// What both warpgroups do.
template <class Room>
struct SplitConsumer : attend::swap_ab::Consumer<Room> {
  using C = attend::swap_ab::Consumer<Room>;
  using C::block;
  using C::C;
  using C::p;
  using C::shared;
  using C::storage;
  pipeline::UseCount weights;  // how often P has been handed over
  pipeline::UseCount segment;  // the number of the segment, for the valuers

  // attend::swap_ab::SegmentEnd waits here for what publish_totals() writes.
  FLASHMLA_DEVICE void wait_for_totals() const { shared.totals_ring().wait(segment); }

  FLASHMLA_DEVICE attend::TileSegment wait_for_segment(pipeline::UseCount n) const {
    shared.segment_ring().wait(n);
    const attend::TileSegment record =
        storage.segments[n.template slot_in<C::Storage::segment_slots>()];
    pipeline::arrive_as_warp([this, n] { this->shared.segment_ring().release(n); });
    return record;
  }
  // Other warps have written the keys, and the tensor cores read them.
  FLASHMLA_DEVICE BlockHeader wait_for_block() const {
    shared.key_ring().wait(block);
    ptx::fence_async_proxy();
    return storage.headers[0][block.template slot_in<C::Storage::key_slots>()];
  }
  FLASHMLA_DEVICE void give_block_back() {
    pipeline::arrive_as_warp([this] { this->shared.key_ring().release(this->block); });
    block.advance();
  }
  FLASHMLA_DEVICE int weight_slot() const {
    return weights.template slot_in<C::Storage::weight_slots>();
  }
};

template <class Room>
struct Scorers : SplitConsumer<Room> {
  using S = SplitConsumer<Room>;
  using S::p;
  using S::S;
  using S::scores;
  using S::shared;
  using S::storage;

  FLASHMLA_DEVICE void score_all() {
    for (pipeline::UseCount n;; n.advance()) {
      S::clear();
      const attend::TileSegment record = S::wait_for_segment(n);
      if (record.is_end())
        return;
      shared.totals_ring().acquire(n);
      load_queries<Room::chunks, Room::rows, consumer_threads>(
          p, record, S::thread(), [this](int chunk) { return this->shared.query(chunk); });
      ptx::barrier_sync(scorers_met, consumer_threads);
      while (!score_block()) {
      }
      S::publish_totals();
      shared.totals_ring().commit(n);
    }
  }

 private:
  // Returns whether the block is the last one of its segment.
  FLASHMLA_DEVICE bool score_block() {
    const BlockHeader header = S::wait_for_block();
    if (header.tokens > 0) {
      S::multiply_queries();
      mask(header.tokens);
      const bool raised = S::raise_max();
      shared.weight_ring().acquire(S::weights);
      S::publish_weights(shared.weights(S::weight_slot()));
      show_factors(raised);
      ptx::fence_async_proxy();
      shared.weight_ring().commit(S::weights);
      S::weights.advance();
    }
    S::give_block_back();
    return header.last;
  }

  // All warps have the same factors.
  FLASHMLA_DEVICE void show_factors(bool raised) const {
    if (S::warp() != 0)
      return;
    if (S::lane() == 0)
      storage.rescales[S::weight_slot()] = raised;
    if (S::lane() < tile::quad_lanes)
#pragma unroll
      for (int i = 0; i < S::own_rows; ++i)
        storage.factor[S::weight_slot()][S::row(i)] = S::factor[i];
  }

  // Masks the scores behind the tokens of a block.
  FLASHMLA_DEVICE void mask(std::int32_t tokens) {
    if (p.scores.negated)
      scores.negate();
    if (tokens == block_tokens)
      return;
    const int token = S::warp() * tile::warp_rows + tile::own_row(S::lane());
#pragma unroll
    for (int i = 0; i < S::own_rows; ++i) {
      if (token >= tokens)
        scores.at(0, i) = ops::minus_infinity;
      if (token + tile::own_rows_apart >= tokens)
        scores.at(1, i) = ops::minus_infinity;
    }
  }
};

template <class Room>
struct Valuers : SplitConsumer<Room> {
  using S = SplitConsumer<Room>;
  using S::S;
  using S::shared;
  using S::storage;

  FLASHMLA_DEVICE void value_all() {
    for (pipeline::UseCount n;; n.advance()) {
      S::clear();
      const attend::TileSegment record = S::wait_for_segment(n);
      if (record.is_end())
        return;
      S::segment = n;
      while (!value_block()) {
      }
      attend::swap_ab::SegmentEnd<Valuers>(*this, record).finish();
    }
  }

 private:
  FLASHMLA_DEVICE bool value_block() {
    const BlockHeader header = S::wait_for_block();
    if (header.tokens > 0) {
      shared.weight_ring().wait(S::weights);
      if (storage.rescales[S::weight_slot()]) {
#pragma unroll
        for (int i = 0; i < S::own_rows; ++i)
          S::factor[i] = storage.factor[S::weight_slot()][S::row(i)];
        S::rescale_out();
      }
      S::multiply_weights(
          S::uniform_descriptor(tile::k_major(S::fixed().weights(S::weight_slot()))));
      shared.weight_ring().release(S::weights);
      S::weights.advance();
    }
    S::give_block_back();
    return header.last;
  }
};

}  // namespace flashmla::sm90::sparse_decode::swap_ab
