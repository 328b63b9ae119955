// The warp that walks over the segments of a CTA and publishes their records and their blocks of
// slots. Where no other warp does, it also copies the rotary parts of FP8 caches.
#pragma once

#include <cstdint>

#include "sm90/attend/tile_segment.h"
#include "sm90/kernels/sparse_decode/rotary.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/pipeline/position.h"
#include "sm90/pipeline/warp_arrival.h"
#include "sm90/ptx/grid_dependency.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::sparse_decode {

using attend::TileSegment;

// Calls body(TileSegment) for all work of the CTA. The grid is (tiles, workers), or as wide as the
// GPU where there are more tiles than multiprocessors. The tiles of a worker are neighbours in the
// grid, so that they share cached rows in the L2 cache.
template <int TileRows, class Body>
FLASHMLA_DEVICE void for_each_tile_segment(const Params& p, Body body) {
  const auto worker = static_cast<std::int32_t>(blockIdx.y);
  const WorkRow work = p.schedule.work[worker];
  const schedule::Walk walk = p.schedule.walk();
  for (auto tile = static_cast<std::int32_t>(blockIdx.x); tile < p.tiles;
       tile += static_cast<std::int32_t>(gridDim.x))
    schedule::for_each_segment(walk, work, worker, [&](const schedule::Segment& segment) {
      body(TileSegment{segment.request, segment.length, segment.first_block,
                       segment.end_block - segment.first_block, segment.partial, 0,
                       tile * TileRows});
    });
}

// Room::Shared has keys(slot), key_ring(part), slot_ring() and segment_ring(), Room::Storage has
// `slots` and `segments`.
// Room::last_blocks is the number of blocks among which each gathering warp has an item.
template <class Room, int TileRows>
class SlotReader {
  using Shared = typename Room::Shared;
  using Storage = typename Room::Storage;
  using Format = typename Room::Format;

 public:
  FLASHMLA_DEVICE SlotReader(const Params& params, const Shared& addresses, Storage& memory)
      : p(params), shared(addresses), storage(memory) {}

  // The whole warp calls this.
  FLASHMLA_DEVICE void read_all() {
    ptx::wait_for_prerequisites();
    pipeline::UseCount n;
    for_each_tile_segment<TileRows>(p, [&](const TileSegment& segment) {
      publish(n, segment);
      read_lists(segment);
      n.advance();
    });
    publish(n, TileSegment::end());
    for (int i = 0; i < Room::last_blocks; ++i) {
      shared.slot_ring().acquire(block_);
      commit(0, true, true);
    }
    copy_waiting_rotary();
  }

 private:
  static constexpr bool copies_rotary = Format::quantised && !Room::has_rotary_warp;
  static constexpr int fetched = 4;  // entries that a lane has in flight
  static constexpr std::int32_t no_slot = -1;

  // The lists of one query token. The main list comes first, and both are cut to their counted
  // entries.
  struct Lists {
    const std::int32_t* slots[2];
    std::int32_t main;  // entries of the main list
    std::int32_t end;   // entries of the segment end here
  };

  static FLASHMLA_DEVICE int lane() { return threadIdx.x % 32; }

  FLASHMLA_DEVICE void publish(pipeline::UseCount n, const TileSegment& segment) {
    shared.segment_ring().acquire(n);
    if (lane() == 0)
      storage.rings.segments[n.template slot_in<Storage::segment_slots>()] = segment;
    pipeline::arrive_as_warp([&] { shared.segment_ring().commit(n); });
  }

  FLASHMLA_DEVICE Lists lists_of(const TileSegment& segment) const {
    const auto at = p.output.batch_place(segment.request);
    Lists lists;
    std::int32_t counted[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const IndexLists& all = p.lists[i];
      lists.slots[i] = all.slots + at.request * all.request_stride + at.token * all.token_stride;
      counted[i] = all.entries > 0 ? all.counted(at.request) : 0;
    }
    lists.main = counted[0];
    lists.end = min((segment.first_block + segment.blocks) * block_tokens, counted[0] + counted[1]);
    return lists;
  }

  // The entries first + lane, first + lane + 32 and so on.
  static FLASHMLA_DEVICE void fetch(const Lists& lists, std::int32_t first,
                                    std::int32_t (&slots)[fetched]) {
#pragma unroll
    for (int i = 0; i < fetched; ++i) {
      const std::int32_t entry = first + i * 32 + lane();
      slots[i] = no_slot;
      if (entry < lists.end)
        slots[i] = entry < lists.main ? __ldg(lists.slots[0] + entry)
                                      : __ldg(lists.slots[1] + (entry - lists.main));
    }
  }

  FLASHMLA_DEVICE void read_lists(const TileSegment& segment) {
    const Lists lists = lists_of(segment);
    std::int32_t entry = segment.first_block * block_tokens;
    std::int32_t next[fetched];
    fetch(lists, entry, next);
    shared.slot_ring().acquire(block_);
    filled_ = 0;
#pragma unroll 1
    for (; entry < lists.end; entry += fetched * 32) {
      std::int32_t slots[fetched];
#pragma unroll
      for (int i = 0; i < fetched; ++i)
        slots[i] = next[i];
      fetch(lists, entry + fetched * 32, next);
#pragma unroll
      for (int i = 0; i < fetched; ++i)
        add(slots[i], p.lists[entry + i * 32 + lane() >= lists.main]);
    }
    for (int token = filled_ + lane(); token < block_tokens; token += 32) {
      block().rows[place_of(token)] = no_row.zeros;
      if constexpr (Format::scales_apart)
        block().scales[place_of(token)] = no_row_bytes;
    }
    commit(filled_, true);
  }

  // Adds the tokens of the lanes whose slot lies in the cache.
  FLASHMLA_DEVICE void add(std::int32_t slot, const IndexLists& list) {
    const bool there = list.holds(slot);
    const std::uint32_t all = __ballot_sync(0xffffffffu, there);
    const int before = __popc(all & ((1u << lane()) - 1));
    const int count = __popc(all);
    const std::int32_t page = list.by_page_size.quotient(max(slot, 0));
    const std::int32_t in_page = slot - page * list.page_size;
    const std::uint8_t* row = list.cache + page * list.page_bytes + in_page * list.row_bytes;
    const int token = filled_ + before;
    const auto put = [&](int place) {
      block().rows[place] = row;
      if constexpr (Format::scales_apart)
        block().scales[place] = Format::scales_behind(list.page_size, in_page);
    };
    if (there && token < block_tokens)
      put(place_of(token));
    if (filled_ + count <= block_tokens) {
      filled_ += count;
      return;
    }
    commit(block_tokens, false);
    shared.slot_ring().acquire(block_);
    if (there && token >= block_tokens)
      put(place_of(token - block_tokens));
    filled_ += count - block_tokens;
  }

  FLASHMLA_DEVICE SlotBlock<Format>& block() {
    return storage.rings.slots[block_.template slot_in<Storage::slot_blocks>()];
  }

  FLASHMLA_DEVICE void commit(int tokens, bool last, bool end = false) {
    if (lane() == 0)
      block().header = {static_cast<std::int16_t>(tokens), last, end};
    pipeline::arrive_as_warp([&] { shared.slot_ring().commit(block_); });
    if (!end) {
      // NOTE: one block behind, so that the gathering warps get their slots first.
      // Its slots stay until then, since this warp alone overwrites them.
      copy_waiting_rotary();
      rotary_ = block_;
      has_rotary_ = true;
    }
    block_.advance();
  }

  // Where this warp copies the rotary parts: those of the block before.
  FLASHMLA_DEVICE void copy_waiting_rotary() {
    if constexpr (copies_rotary) {
      __syncwarp();  // other lanes have written the slots
      if (has_rotary_)
        copy_rotary<Room>(shared, storage, rotary_);
    }
    has_rotary_ = false;
  }

  const Params& p;
  Shared shared;
  Storage& storage;
  pipeline::UseCount block_;   // blocks that have been published
  int filled_ = 0;             // tokens of the block that is being filled
  pipeline::UseCount rotary_;  // the block whose rotary parts come next, where has_rotary_ is true
  bool has_rotary_ = false;
};

}  // namespace flashmla::sm90::sparse_decode
