// Copying the rotary parts of cached rows in FP8 caches, which are bf16 already, to the last chunk
// of the keys.
#pragma once

#include <cstdint>

#include "sm90/kernels/sparse_decode/items.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/pipeline/position.h"
#include "sm90/pipeline/warp_arrival.h"
#include "sm90/ptx/load_store.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::sparse_decode {

// A warp calls this. The slots of the block have been published and are not overwritten meanwhile.
template <class Room>
FLASHMLA_DEVICE void copy_rotary(const typename Room::Shared& shared,
                                 const typename Room::Storage& storage, pipeline::UseCount block) {
  using Format = typename Room::Format;
  using Storage = typename Room::Storage;
  constexpr int warp_tokens = 32 / tile::units_per_row;
  const int part = Items<Format>::rotary_part(Room::key_parts);
  const SlotBlock<Format>& slots =
      storage.rings.slots[block.template slot_in<Storage::slot_blocks>()];
  const std::uint32_t target = shared.keys(block.template slot_in<Storage::key_slots>()) +
                               (Format::chunks - 1) * block_tokens * tile::row_bytes;
  const int lane = threadIdx.x % 32;
  const int unit = lane % tile::units_per_row;
  shared.key_ring(part).acquire(block);
#pragma unroll 4
  for (int token = lane / tile::units_per_row; token < block_tokens; token += warp_tokens)
    ptx::copy_async(target + tile::swizzled(token, unit),
                    slots.rows[place_of(token)] + Format::rotary_offset + unit * tile::unit_bytes,
                    true);
  ptx::wait_for_copies();
  pipeline::arrive_as_warp([&] { shared.key_ring(part).commit(block); });
}

// The same for all blocks, for a warp that does nothing else.
template <class Room>
FLASHMLA_DEVICE void copy_all_rotary(const typename Room::Shared& shared,
                                     const typename Room::Storage& storage) {
  for (pipeline::UseCount block;; block.advance()) {
    shared.slot_ring().wait(block);
    if (storage.rings.slots[block.template slot_in<Room::Storage::slot_blocks>()].header.end)
      return;
    copy_rotary<Room>(shared, storage, block);
    pipeline::arrive_as_warp([&] { shared.slot_ring().release(block); });
  }
}

}  // namespace flashmla::sm90::sparse_decode
