// What the shared memory of every sparse kernel ends with: the rings between its warps, and what
// they carry beside tiles.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sm90/attend/tile_segment.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/pipeline/position.h"
#include "sm90/pipeline/ring.h"
#include "sm90/pipeline/warp_arrival.h"

namespace flashmla::sm90::sparse_decode {

// How many slots the rings of a kernel have. A block of keys arrives and is given back in
// `KeyParts` parts.
template <int KeySlots, int KeyParts, int WeightSlots>
struct RingCounts {
  static constexpr int slot_blocks = 4;
  static constexpr int segment_slots = 2;
  static constexpr int key_slots = KeySlots;
  static constexpr int key_parts = KeyParts;
  static constexpr int weight_slots = WeightSlots;
};

template <class Format, class Counts>
struct RingMemory {
  SlotBlock<Format> slots[Counts::slot_blocks];
  // Of the blocks in the ring of keys. Each part has its own, since it is given back alone.
  BlockHeader headers[Counts::key_parts][Counts::key_slots];
  attend::TileSegment segments[Counts::segment_slots];

  pipeline::RingBarriers<Counts::key_slots> key_barriers[Counts::key_parts];
  pipeline::RingBarriers<Counts::weight_slots> weight_barriers;
  pipeline::RingBarriers<1> totals_barriers;
  pipeline::RingBarriers<Counts::slot_blocks> slot_barriers;
  pipeline::RingBarriers<Counts::segment_slots> segment_barriers;
};

// Shared addresses of the rings. `Storage` is a RingCounts with a member `rings`, a RingMemory.
template <class Storage>
struct RingAddresses {
  std::uint32_t base;  // of the storage

  FLASHMLA_DEVICE std::uint32_t at(std::size_t offset) const {
    return base + static_cast<std::uint32_t>(offset);
  }
  FLASHMLA_DEVICE pipeline::Ring<Storage::key_slots> key_ring(int part = 0) const {
    return {in_rings(offsetof(Rings, key_barriers)) +
            part * static_cast<std::uint32_t>(sizeof(pipeline::RingBarriers<Storage::key_slots>))};
  }
  // One consumer gives another one P, and the factors of the accumulators.
  FLASHMLA_DEVICE pipeline::Ring<Storage::weight_slots> weight_ring() const {
    return {in_rings(offsetof(Rings, weight_barriers))};
  }
  // It also gives it the totals of the rows of a segment, and gets back the memory of the queries.
  FLASHMLA_DEVICE pipeline::Ring<1> totals_ring() const {
    return {in_rings(offsetof(Rings, totals_barriers))};
  }
  FLASHMLA_DEVICE pipeline::Ring<Storage::slot_blocks> slot_ring() const {
    return {in_rings(offsetof(Rings, slot_barriers))};
  }
  FLASHMLA_DEVICE pipeline::Ring<Storage::segment_slots> segment_ring() const {
    return {in_rings(offsetof(Rings, segment_barriers))};
  }
  // attend::swap_ab::SegmentEnd gives the memory of the queries back there.
  FLASHMLA_DEVICE pipeline::Ring<1> query_ring() const { return totals_ring(); }

 private:
  using Rings = decltype(Storage::rings);
  FLASHMLA_DEVICE std::uint32_t in_rings(std::size_t offset) const {
    return at(offsetof(Storage, rings) + offset);
  }
};

// The record of segment n. A whole warp calls this. It keeps a copy and gives the slot back.
template <class Storage>
FLASHMLA_DEVICE attend::TileSegment take_segment(const RingAddresses<Storage>& shared,
                                                 const Storage& storage, pipeline::UseCount n) {
  shared.segment_ring().wait(n);
  const attend::TileSegment record =
      storage.rings.segments[n.template slot_in<Storage::segment_slots>()];
  pipeline::arrive_as_warp([&] { shared.segment_ring().release(n); });
  return record;
}

}  // namespace flashmla::sm90::sparse_decode
