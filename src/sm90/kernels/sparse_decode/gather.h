// The warps that gather cached rows. Each takes every so many groups of eight tokens, dequantises
// them where the cache is FP8, and writes them as swizzled chunks to the ring of keys.
#pragma once

#include <cstdint>

#include "sm90/kernels/sparse_decode/row_formats.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/ops/dequantise.h"
#include "sm90/ops/load_rows.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/pipeline/position.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::sparse_decode {

// The next group of a warp among all groups of a CTA.
struct GroupPosition {
  pipeline::UseCount block;
  int group;

  template <int Warps>
  FLASHMLA_DEVICE void advance() {
    group += Warps;
#pragma unroll
    for (int i = 0; i < (Warps + groups_of_block - 1) / groups_of_block; ++i)
      if (group >= groups_of_block) {
        group -= groups_of_block;
        block.advance();
      }
  }
};

// The part of a gathering warp that all formats share.
// Room::Shared: keys(slot), key_ring(part), slot_ring(). Room::Storage: slots, headers, scales.
template <class Room>
class Gatherer {
 protected:
  using Shared = typename Room::Shared;
  using Storage = typename Room::Storage;
  using Format = typename Room::Format;
  static constexpr std::uint32_t chunk_bytes = block_tokens * tile::row_bytes;

  FLASHMLA_DEVICE Gatherer(const Params& params, const Shared& addresses, Storage& memory, int warp)
      : p(params), shared(addresses), storage(memory) {
    now.group = warp;
    if (warp >= groups_of_block) {
      now.group -= groups_of_block;
      now.block.advance();
    }
  }

  static FLASHMLA_DEVICE int lane() { return threadIdx.x % 32; }
  FLASHMLA_DEVICE GroupPosition next() const {
    GroupPosition after = now;
    after.template advance<Room::gather_warps>();
    return after;
  }

  FLASHMLA_DEVICE const SlotBlock<Format>& slots_of(const GroupPosition& at) const {
    return storage.slots[at.block.template slot_in<Storage::slot_blocks>()];
  }
  // Waits for the block of slots. False: there is none any more.
  FLASHMLA_DEVICE bool wait_for_slots(const GroupPosition& at) {
    shared.slot_ring().wait(at.block);
    header = slots_of(at).header;
    return !header.end;
  }
  // Gives the slots back, after all lanes have read them.
  FLASHMLA_DEVICE void release_slots(const GroupPosition& at) const {
    __syncwarp();
    if (lane() == 0)
      shared.slot_ring().release(at.block);
  }

  static FLASHMLA_DEVICE int key_slot(const GroupPosition& at) {
    return at.block.template slot_in<Storage::key_slots>();
  }
  FLASHMLA_DEVICE void acquire_keys(const GroupPosition& at, int part) const {
    shared.key_ring(part).acquire(at.block);
  }

  // Where the first row of the group lies in a chunk of the block.
  FLASHMLA_DEVICE std::uint32_t target(const GroupPosition& at, int chunk) const {
    return shared.keys(key_slot(at)) + chunk * chunk_bytes +
           at.group * group_tokens * tile::row_bytes;
  }

  // Shows a part of the rows to the consumers, after all lanes have written them.
  FLASHMLA_DEVICE void commit(const GroupPosition& at, int part,
                              const BlockHeader& of_block) const {
    ptx::fence_async_proxy();
    __syncwarp();
    if (lane() == 0) {
      if (at.group == 0)
        storage.headers[part][key_slot(at)] = of_block;
      shared.key_ring(part).commit(at.block);
    }
  }

  const Params& p;
  Shared shared;
  Storage& storage;
  GroupPosition now{};
  BlockHeader header;  // of the block that was waited for
};

// Copies rows of bf16 numbers.
template <class Room>
class PlainGatherer : Gatherer<Room> {
  using G = Gatherer<Room>;
  static constexpr int chunks = Room::Format::chunks;
  static constexpr int v_chunks = v_dim / tile::chunk_columns;

 public:
  FLASHMLA_DEVICE PlainGatherer(const Params& params, const typename Room::Shared& addresses,
                                typename Room::Storage& memory, int warp)
      : G(params, addresses, memory, warp) {}

  FLASHMLA_DEVICE void gather_all() {
    for (; G::wait_for_slots(G::now); G::now = G::next()) {
      const SlotBlock<typename Room::Format>& slots = G::slots_of(G::now);
      const int first = G::now.group * group_tokens;
      const std::uint8_t* const rows[2] = {slots.rows[place_of(first + row(0))],
                                           slots.rows[place_of(first + row(1))]};
      G::release_slots(G::now);
      G::acquire_keys(G::now, 0);
      copy<v_chunks, chunks>(rows);
      copy<0, v_chunks / 2>(rows);
      if constexpr (Room::key_parts == 2) {
        ptx::commit_copies();
        G::acquire_keys(G::now, 1);
      }
      copy<v_chunks / 2, v_chunks>(rows);
      ptx::commit_copies();
      if constexpr (Room::key_parts == 2) {
        ptx::wait_for_groups<1>();
        G::commit(G::now, 0, G::header);
      }
      ptx::wait_for_groups<0>();
      G::commit(G::now, Room::key_parts - 1, G::header);
    }
  }

 private:
  static FLASHMLA_DEVICE int row(int i) { return G::lane() / tile::units_per_row + 4 * i; }

  template <int First, int End>
  FLASHMLA_DEVICE void copy(const std::uint8_t* const (&rows)[2]) const {
    const int unit = G::lane() % tile::units_per_row;
#pragma unroll
    for (int chunk = First; chunk < End; ++chunk)
#pragma unroll
      for (int i = 0; i < 2; ++i)
        ops::load_unit(G::target(G::now, chunk) + tile::swizzled(row(i), unit),
                       reinterpret_cast<const std::uint16_t*>(rows[i]) +
                           chunk * tile::chunk_columns + unit * 8,
                       rows[i] != nullptr, G::p.kv_aligned);
  }
};

// Dequantises rows. A row has two sides of four chunks.
//
// NOTE: the loads of a loop share one scoreboard, so that a wait for one of them is a wait for all.
// All loads of a group are issued together, and nothing uses any of them before all are needed.
// Where registers suffice (Room::loads_groups_ahead), they are issued in front of the work on the
// group before, otherwise behind it.
template <class Room>
class QuantisedGatherer : Gatherer<Room> {
  using G = Gatherer<Room>;
  using Format = typename Room::Format;
  static constexpr int own_tokens = group_tokens / 2;  // tokens 2i + lane / 4 % 2 of the group

  // What a lane has of the rows of a group, as it is in the cache.
  struct Raw {
    uint4 codes[2][own_tokens];  // [side]
    uint4 rotary[2];
    std::uint32_t scales[Format::lane_scales];
  };

 public:
  FLASHMLA_DEVICE QuantisedGatherer(const Params& params, const typename Room::Shared& addresses,
                                    typename Room::Storage& memory, int warp)
      : G(params, addresses, memory, warp), scratch(addresses.scales(warp)) {}

  FLASHMLA_DEVICE void gather_all() {
    Raw raw;
    bool more = load_group(raw);
    while (more) {
      const BlockHeader of_block = G::header;
      const GroupPosition now = G::now;
      const bool shifts = show_scales(raw.scales);
      if constexpr (Room::loads_groups_ahead) {
        Raw upcoming;
        G::now = G::next();
        more = load_group(upcoming);
        write_group(now, of_block, raw, shifts);
        raw = upcoming;
      } else {
        write_group(now, of_block, raw, shifts);
        G::now = G::next();
        more = load_group(raw);
      }
    }
  }

 private:
  // Starts to load the next group. False: there is none any more.
  FLASHMLA_DEVICE bool load_group(Raw& raw) {
    if (!G::wait_for_slots(G::now))
      return false;
    const SlotBlock<Format>& slots = G::slots_of(G::now);
    const int first = G::now.group * group_tokens;
    Format::load_scales(slots, place_of(first + G::lane() / 4), G::lane(), raw.scales);
#pragma unroll
    for (int side = 0; side < 2; ++side)
#pragma unroll
      for (int i = 0; i < own_tokens; ++i) {
        const std::uint8_t* row = slots.rows[place_of(first + parity()) + i];
        raw.codes[side][i] = ptx::load_unit_if(
            row != nullptr && has_codes(side),
            row + chunk(side) * tile::chunk_columns + unit_in_chunk() * ops::unit_codes);
      }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const std::uint8_t* row = slots.rows[place_of(first + rotary_token(i))];
      raw.rotary[i] = ptx::load_unit_if(row != nullptr, row + Format::rotary_offset +
                                                            rotary_unit() * tile::unit_bytes);
    }
    G::release_slots(G::now);
    return true;
  }

  // The part of a block of keys that has the rotary chunk. It comes first where it may, since
  // registers are free after it.
  static constexpr int rotary_part = Room::key_parts == 2 && Format::code_chunks < 8 ? 1 : 0;

  FLASHMLA_DEVICE void write_rotary(const GroupPosition& at, const Raw& raw) const {
#pragma unroll
    for (int i = 0; i < 2; ++i)
      ptx::store_shared(
          G::target(at, Format::chunks - 1) + tile::swizzled(rotary_token(i), rotary_unit()),
          raw.rotary[i]);
  }

  FLASHMLA_DEVICE void write_group(const GroupPosition& at, const BlockHeader& of_block,
                                   const Raw& raw, bool shifts) {
    G::acquire_keys(at, 0);
    if constexpr (rotary_part == 0)
      write_rotary(at, raw);
    write_side<0>(at, raw, shifts);
    if constexpr (Room::key_parts == 2) {
      G::commit(at, 0, of_block);
      G::acquire_keys(at, 1);
    }
    if constexpr (rotary_part == 1)
      write_rotary(at, raw);
    write_side<1>(at, raw, shifts);
    G::commit(at, Room::key_parts - 1, of_block);
  }

  static FLASHMLA_DEVICE int parity() { return G::lane() / 4 % 2; }
  static FLASHMLA_DEVICE int unit_in_chunk() { return G::lane() % 4; }
  static FLASHMLA_DEVICE int chunk(int side) { return 4 * side + G::lane() / 8; }
  // Whether the lane's chunk of the side holds codes.
  static FLASHMLA_DEVICE bool has_codes(int side) {
    return Format::code_chunks == 8 || chunk(side) < Format::code_chunks;
  }

  // Writes the scales of the group, [parity of the token][scale][token / 2], in the form that the
  // warp needs. Returns whether this is the form for shifts.
  FLASHMLA_DEVICE bool show_scales(const std::uint32_t (&scales)[Format::lane_scales]) const {
    __syncwarp();  // all lanes have read the scales of the group before
    bool fit = true;
#pragma unroll
    for (int i = 0; i < Format::lane_scales; ++i)
      fit = fit && ops::CodeScale::fits_shifts(Format::scale(scales, i));
    const bool shifts = !ops::any_in_warp(!fit);
    const int token = G::lane() / 4;
#pragma unroll
    for (int i = 0; i < Format::lane_scales; ++i) {
      const float scale = Format::scale(scales, i);
      const int number = G::lane() % 4 * Format::lane_scales + i;
      ptx::store_shared(
          scratch + scale_offset(token % 2, number) + token / 2 * sizeof(float),
          shifts ? __uint_as_float(ops::CodeScale::for_shifts(scale)) : scale);
    }
    __syncwarp();
    return shifts;
  }
  static FLASHMLA_DEVICE std::uint32_t scale_offset(int token_parity, int number) {
    return (token_parity * Format::scales + number) * own_tokens * sizeof(float);
  }

  // The rotary part is bf16 already. It is the last chunk. A lane has one unit of two tokens.
  static FLASHMLA_DEVICE int rotary_unit() { return G::lane() % tile::units_per_row; }
  static FLASHMLA_DEVICE int rotary_token(int i) { return G::lane() / tile::units_per_row + 4 * i; }

  template <int Side>
  FLASHMLA_DEVICE void write_side(const GroupPosition& at, const Raw& raw, bool shifts) const {
    const uint4(&units)[own_tokens] = raw.codes[Side];
    std::uint32_t nan = 0;
#pragma unroll
    for (int i = 0; i < own_tokens; ++i)
      nan = ops::find_nan_codes(units[i], nan);
    const bool by_shifts = shifts && !ops::any_in_warp(ops::has_nan_codes(nan));
    const uint4 four = ptx::load_shared_unit(
        scratch + scale_offset(parity(), Format::scale_of(has_codes(Side) ? chunk(Side) : 0)));
    const std::uint32_t own_scales[own_tokens] = {four.x, four.y, four.z, four.w};
    if (by_shifts) [[likely]] {
      write_units<Side>(at, [&](int i, std::uint32_t(&values)[8]) {
        ops::dequantise_by_shifts(units[i], own_scales[i], values);
      });
    } else {
      write_units<Side>(at, [&](int i, std::uint32_t(&values)[8]) {
        ops::dequantise_by_conversions(units[i],
                                       shifts ? ops::CodeScale::of_shifts(own_scales[i])
                                              : __uint_as_float(own_scales[i]),
                                       values);
      });
    }
  }

  template <int Side, class Dequantise>
  FLASHMLA_DEVICE void write_units(const GroupPosition& at, Dequantise dequantise) const {
#pragma unroll
    for (int i = 0; i < own_tokens; ++i) {
      std::uint32_t values[8];
      dequantise(i, values);
      const std::uint32_t to =
          G::target(at, chunk(Side)) + tile::swizzled(2 * i + parity(), 2 * unit_in_chunk());
      if (has_codes(Side)) {
        ptx::store_shared(to, uint4{values[0], values[1], values[2], values[3]});
        ptx::store_shared(to ^ tile::unit_bytes, uint4{values[4], values[5], values[6], values[7]});
      }
    }
  }

  std::uint32_t scratch;  // shared address of the warp's scales
};

// A gathering warp. `warp` is its number among them.
template <class Room>
FLASHMLA_DEVICE void gather(const Params& p, const typename Room::Shared& shared,
                            typename Room::Storage& storage, int warp) {
  if constexpr (Room::Format::quantised)
    QuantisedGatherer<Room>(p, shared, storage, warp).gather_all();
  else
    PlainGatherer<Room>(p, shared, storage, warp).gather_all();
}

}  // namespace flashmla::sm90::sparse_decode
