// The two consumer warpgroups: all operands come from shared memory.
#pragma once

#include "sm90/kernels/sparse_decode/query_rows.h"
#include "sm90/kernels/sparse_decode/split_consumer.h"
#include "sm90/kernels/sparse_decode/swap_ab/shared_storage.h"

namespace flashmla::sm90::sparse_decode::swap_ab {

template <class Room>
struct PlainScorers : Scorers<Room, PlainScorers<Room>> {
  using S = Scorers<Room, PlainScorers<Room>>;
  using S::S;

  FLASHMLA_DEVICE void load_queries(const attend::TileSegment& record, int thread) {
    sparse_decode::load_queries<Room::chunks, Room::rows, consumer_threads>(
        S::p, record, thread, [this](int chunk) { return this->shared.query(chunk); });
  }
  FLASHMLA_DEVICE bool score(std::int32_t tokens) {
    ptx::fence_async_proxy();
    S::multiply_queries();
    S::mask(tokens);
    return S::raise_max();
  }
  FLASHMLA_DEVICE void show_weights(int slot) { S::publish_weights(S::shared.weights(slot)); }
  FLASHMLA_DEVICE void show_totals() { S::publish_totals(); }
};

template <class Room>
struct PlainValuers : Valuers<Room, PlainValuers<Room>> {
  using S = Valuers<Room, PlainValuers<Room>>;
  using S::S;

  FLASHMLA_DEVICE void multiply(int slot) {
    ptx::fence_async_proxy();
    S::multiply_weights(attend::uniform_descriptor(tile::k_major(S::fixed().weights(slot))));
  }
};

}  // namespace flashmla::sm90::sparse_decode::swap_ab
