// The consumers of a kernel for tiles of 16 or 32 rows, one or two warpgroups of each kind. The
// scorers compute the scores and P of every block. The valuers multiply P with V, one block behind,
// and write the results. `Kernel` is what a kernel adds: how it loads queries, and how it
// multiplies.
#pragma once

#include "sm90/attend/swap_ab/consumer.h"
#include "sm90/attend/swap_ab/segment_end.h"
#include "sm90/kernels/sparse_decode/ring_memory.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/pipeline/warp_arrival.h"

namespace flashmla::sm90::sparse_decode {

using attend::swap_ab::consumer_threads;

// What both kinds do.
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

  // Other warps have written the keys. Where tensor cores read them from shared memory, a fence
  // follows.
  FLASHMLA_DEVICE BlockHeader wait_for_block(pipeline::UseCount which) const {
    shared.key_ring().wait(which);
    return storage.rings.headers[0][which.template slot_in<C::Storage::key_slots>()];
  }
  FLASHMLA_DEVICE void give_block_back(pipeline::UseCount which) const {
    pipeline::arrive_as_warp([this, which] { this->shared.key_ring().release(which); });
  }
  FLASHMLA_DEVICE int key_slot() const { return block.template slot_in<C::Storage::key_slots>(); }
};

// Kernel has load_queries(record, thread); score(tokens), which computes the masked scores of the
// block, raises the maxima and returns whether the valuers have to multiply by `factor`;
// show_weights(slot), which computes P and shows it to the valuers; and show_totals() for the end
// of a segment.
//
// Two warpgroups of scorers take two neighbouring blocks at a time, one each, and raise the maxima
// together. Where a segment ends with the first one, the other warpgroup has a block of no tokens.
template <class Room, class Kernel>
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
      const attend::TileSegment record = take_segment<typename S::Storage>(shared, storage, n);
      if (record.is_end())
        return;
      shared.totals_ring().acquire(n);
      kernel().load_queries(record, S::score_group() * consumer_threads + S::thread());
      meet();
      while (!score_blocks()) {
      }
      kernel().show_totals();
      shared.totals_ring().commit(n);
    }
  }

  static constexpr int threads = Room::score_groups * consumer_threads;
  static FLASHMLA_DEVICE void meet() { ptx::barrier_sync(Room::scorers_met, threads); }

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

 private:
  FLASHMLA_DEVICE Kernel& kernel() { return static_cast<Kernel&>(*this); }

  // Returns whether the blocks are the last ones of their segment.
  FLASHMLA_DEVICE bool score_blocks() {
    const pipeline::UseCount first = S::block;
    const BlockHeader header = S::wait_for_block(first);
    if constexpr (Room::score_groups == 1) {
      score_block(header.tokens, 0);
      S::give_block_back(first);
      S::block.advance();
      return header.last;
    } else {
      pipeline::UseCount second = first;
      second.advance();
      const bool two = !header.last;
      BlockHeader other{0, true, false};
      const int place = static_cast<int>(ptx::uniform(S::score_group()));
      if (place == 1) {
        S::give_block_back(first);
        if (two)
          other = S::wait_for_block(second);
        S::block = second;
      }
      if (header.tokens > 0)
        score_block(place == 0 ? header.tokens : other.tokens, place);
      if (place == 0) {
        S::give_block_back(first);
        if (two)
          other = S::wait_for_block(second);
      }
      if (two)
        S::give_block_back(second);
      S::block = second;
      if (two) {
        S::block.advance();
        S::weights.advance();
      }
      return !two || other.last;
    }
  }

  // `place` is the number of the block among those that are scored together.
  FLASHMLA_DEVICE void score_block(std::int32_t tokens, int place) {
    if (tokens == 0 && place == 0)
      return;
    const bool rescales = kernel().score(tokens);
    pipeline::UseCount slot = S::weights;
    if (place > 0)
      slot.advance();
    S::weights.advance();
    if (tokens == 0)
      return;
    shared.weight_ring().acquire(slot);
    const int number = slot.template slot_in<S::Storage::weight_slots>();
    kernel().show_weights(number);
    show_factors(number, rescales && place == 0);
    ptx::fence_async_proxy();
    shared.weight_ring().commit(slot);
  }

  // All warps have the same factors.
  FLASHMLA_DEVICE void show_factors(int slot, bool rescales) const {
    if (S::warp() != 0)
      return;
    if (S::lane() == 0)
      storage.rescales[slot] = rescales;
    if (S::lane() < tile::quad_lanes)
#pragma unroll
      for (int i = 0; i < S::own_rows; ++i)
        storage.factor[slot][S::row(i)] = S::factor[i];
  }
};

// Kernel has multiply(slot), which multiplies the P of a slot of the ring of weights with V.
template <class Room, class Kernel>
struct Valuers : SplitConsumer<Room> {
  using S = SplitConsumer<Room>;
  using S::S;
  using S::shared;
  using S::storage;

  FLASHMLA_DEVICE void value_all() {
    for (pipeline::UseCount n;; n.advance()) {
      S::clear();
      const attend::TileSegment record = take_segment<typename S::Storage>(shared, storage, n);
      if (record.is_end())
        return;
      S::segment = n;
      while (!value_block()) {
      }
      attend::swap_ab::SegmentEnd<Kernel>(kernel(), record).finish();
    }
  }

 private:
  FLASHMLA_DEVICE Kernel& kernel() { return static_cast<Kernel&>(*this); }

  FLASHMLA_DEVICE bool value_block() {
    const BlockHeader header = S::wait_for_block(S::block);
    if (header.tokens > 0) {
      const int slot = S::weights.template slot_in<S::Storage::weight_slots>();
      shared.weight_ring().wait(S::weights);
      if (storage.rescales[slot]) {
#pragma unroll
        for (int i = 0; i < S::own_rows; ++i)
          S::factor[i] = storage.factor[slot][S::row(i)];
        S::rescale_out();
      }
      kernel().multiply(slot);
      shared.weight_ring().release(S::weights);
      S::weights.advance();
    }
    S::give_block_back(S::block);
    S::block.advance();
    return header.last;
  }
};

}  // namespace flashmla::sm90::sparse_decode
