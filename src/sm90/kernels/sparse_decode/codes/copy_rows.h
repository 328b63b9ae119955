// The warps that copy cached rows to the ring of keys. They only start copies: a block has arrived
// when the copies of all their lanes have.
#pragma once

#include <cstdint>

#include "sm90/kernels/sparse_decode/codes/shared_storage.h"
#include "sm90/pipeline/position.h"
#include "sm90/pipeline/warp_arrival.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::sparse_decode::codes {

template <class Room>
class RowCopier {
  using Shared = typename Room::Shared;
  using Storage = typename Room::Storage;
  using Format = typename Room::Format;
  using Rows = CodeRows<Format>;

 public:
  // Arrivals at the ring of keys for a block: all lanes, and the one that writes the header.
  static constexpr int arrivals = 32 * copy_warps + 1;

  FLASHMLA_DEVICE RowCopier(const Shared& addresses, Storage& memory, int warp)
      : shared(addresses), storage(memory), warp_(warp) {}

  FLASHMLA_DEVICE void copy_all() {
    for (pipeline::UseCount block;; block.advance()) {
      shared.slot_ring().wait(block);
      const SlotBlock<Format>& slots =
          storage.rings.slots[block.template slot_in<Storage::slot_blocks>()];
      const BlockHeader header = slots.header;
      if (header.end)
        return;
      shared.key_ring().acquire(block);
      const int slot = block.template slot_in<Storage::key_slots>();
      copy_codes(slots, slot);
      copy_rotary(slots, slot);
      copy_scales(slots, slot);
      pipeline::arrive_as_warp([&] { shared.slot_ring().release(block); });
      if (warp_ == 0 && lane() == 0) {
        storage.rings.headers[0][slot] = header;
        shared.key_ring().commit(block);
      }
      shared.key_ring().commit_after_copies(block);
    }
  }

 private:
  static FLASHMLA_DEVICE int lane() { return threadIdx.x % 32; }

  // A row at a time, in groups of four neighbours. NOTE: the addresses of a group are loaded before
  // its copies start, since a copy keeps the registers of its address for a while.
  FLASHMLA_DEVICE void copy_codes(const SlotBlock<Format>& slots, int slot) const {
    constexpr int group = 4;
    constexpr std::uint32_t other = (Rows::swizzle(group) ^ Rows::swizzle(0)) * tile::unit_bytes;
#pragma unroll 2
    for (int first = warp_ * group; first < block_tokens; first += copy_warps * group) {
      const std::uint8_t* rows[group];
#pragma unroll
      for (int i = 0; i < group; ++i)
        rows[i] = slots.rows[place_of(first + i)];
      const std::uint32_t target = shared.codes(slot) + first * Rows::bytes;
      const std::uint32_t turned = first & group ? other : 0;
#pragma unroll
      for (int i = 0; i < group; ++i)
        if (Rows::units == 32 || lane() < Rows::units)
          ptx::copy_async(target + (Rows::offset(i, lane()) ^ turned),
                          rows[i] + lane() * tile::unit_bytes, true);
    }
  }

  FLASHMLA_DEVICE void copy_rotary(const SlotBlock<Format>& slots, int slot) const {
    constexpr int rows_at_once = 32 / tile::units_per_row;
    constexpr int rounds = (block_tokens / rows_at_once + copy_warps - 1) / copy_warps;
    const int unit = lane() % tile::units_per_row;
    const int first = warp_ * rows_at_once + lane() / tile::units_per_row;
    const std::uint32_t target = shared.rotary(slot);
    const std::uint8_t* rows[rounds];
#pragma unroll
    for (int i = 0; i < rounds; ++i)
      rows[i] = slots.rows[place_of(min(first + i * copy_warps * rows_at_once, block_tokens - 1))];
#pragma unroll
    for (int i = 0; i < rounds; ++i) {
      const int token = first + i * copy_warps * rows_at_once;
      if (token < block_tokens)
        ptx::copy_async(target + tile::swizzled(token, unit),
                        rows[i] + Format::rotary_offset + unit * tile::unit_bytes, true);
    }
  }

  FLASHMLA_DEVICE void copy_scales(const SlotBlock<Format>& slots, int slot) const {
    for (int token = warp_ * 32 + lane(); token < block_tokens; token += copy_warps * 32)
      RowScales<Format>::copy(shared.scales(slot, token), slots, token);
  }

  Shared shared;
  Storage& storage;
  int warp_;  // its number among the copying warps
};

}  // namespace flashmla::sm90::sparse_decode::codes
