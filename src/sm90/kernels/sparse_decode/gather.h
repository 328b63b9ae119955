// The warps that gather cached rows. They take the items of the blocks in turn, dequantise them
// where the cache is FP8, and write them as swizzled chunks to the ring of keys.
#pragma once

#include <cstdint>

#include "sm90/kernels/sparse_decode/items.h"
#include "sm90/kernels/sparse_decode/row_formats.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/ops/dequantise.h"
#include "sm90/ops/load_rows.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/pipeline/position.h"
#include "sm90/pipeline/warp_arrival.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::sparse_decode {

// The next item of a warp among all items of a CTA.
template <class Format>
struct ItemPosition {
  pipeline::UseCount block;
  int item;

  template <int Warps>
  FLASHMLA_DEVICE void advance() {
    static_assert(Warps <= 2 * Items<Format>::count);
    item += Warps;
#pragma unroll
    for (int i = 0; i * Items<Format>::count < Warps; ++i)
      if (item >= Items<Format>::count) {
        item -= Items<Format>::count;
        block.advance();
      }
  }
};

// The part of a gathering warp that all formats share.
// Room::Shared: keys(slot), key_ring(part), slot_ring(). Room::Storage: slots, headers.
template <class Room>
class Gatherer {
 protected:
  using Shared = typename Room::Shared;
  using Storage = typename Room::Storage;
  using Format = typename Room::Format;
  using Position = ItemPosition<Format>;
  static constexpr std::uint32_t chunk_bytes = block_tokens * tile::row_bytes;

  FLASHMLA_DEVICE Gatherer(const Params& params, const Shared& addresses, Storage& memory, int warp)
      : p(params), shared(addresses), storage(memory) {
    now.item = warp - Room::gather_warps;
    now.template advance<Room::gather_warps>();
  }

  static FLASHMLA_DEVICE int lane() { return threadIdx.x % 32; }
  FLASHMLA_DEVICE void go_on() { now.template advance<Room::gather_warps>(); }

  FLASHMLA_DEVICE const SlotBlock<Format>& slots() const {
    return storage.rings.slots[now.block.template slot_in<Storage::slot_blocks>()];
  }
  // Waits for the block of slots. False: there is none any more.
  FLASHMLA_DEVICE bool wait_for_slots() {
    shared.slot_ring().wait(now.block);
    header = slots().header;
    return !header.end;
  }
  // Gives the slots back, after all lanes have read them.
  FLASHMLA_DEVICE void release_slots() const {
    pipeline::arrive_as_warp([&] { shared.slot_ring().release(now.block); });
  }

  static FLASHMLA_DEVICE int key_slot(const Position& at) {
    return at.block.template slot_in<Storage::key_slots>();
  }
  FLASHMLA_DEVICE void acquire_keys(const Position& at, int part) const {
    shared.key_ring(part).acquire(at.block);
  }
  // Where a chunk of the block begins.
  FLASHMLA_DEVICE std::uint32_t target(const Position& at, int chunk) const {
    return shared.keys(key_slot(at)) + chunk * chunk_bytes;
  }

  // Shows what the item has of a part to the consumers, after all lanes have written it. `first`:
  // the item is the first one of the part. NOTE: the consumers order these writes before what their
  // tensor cores read (ptx::fence_async_proxy()). One fence of theirs is cheaper than one for each
  // item, which would also wait for the loads of the next item.
  FLASHMLA_DEVICE void commit(const Position& at, int part, bool first,
                              const BlockHeader& of_block) const {
    if (first && lane() == 0)
      storage.rings.headers[part][key_slot(at)] = of_block;
    pipeline::arrive_as_warp([&] { shared.key_ring(part).commit(at.block); });
  }

  const Params& p;
  Shared shared;
  Storage& storage;
  Position now{};
  BlockHeader header;  // of the block that was waited for
};

// Copies rows of bf16 numbers.
template <class Room>
class PlainGatherer : Gatherer<Room> {
  using G = Gatherer<Room>;
  using I = Items<typename Room::Format>;
  static constexpr int chunks = Room::Format::chunks;
  static constexpr int v_chunks = I::v_chunks;

 public:
  FLASHMLA_DEVICE PlainGatherer(const Params& params, const typename Room::Shared& addresses,
                                typename Room::Storage& memory, int warp)
      : G(params, addresses, memory, warp) {}

  FLASHMLA_DEVICE void gather_all() {
    for (; G::wait_for_slots(); G::go_on()) {
      const std::uint8_t* rows[2];
#pragma unroll
      for (int i = 0; i < 2; ++i)
        rows[i] = G::slots().rows[place_of(G::now.item * group_tokens + row(i))];
      G::release_slots();
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
        G::commit(G::now, 0, G::now.item == 0, G::header);
      }
      ptx::wait_for_groups<0>();
      G::commit(G::now, Room::key_parts - 1, G::now.item == 0, G::header);
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
        ops::load_unit(
            G::target(G::now, chunk) + tile::swizzled(G::now.item * group_tokens + row(i), unit),
            reinterpret_cast<const std::uint16_t*>(rows[i]) + chunk * tile::chunk_columns +
                unit * 8,
            true, G::p.kv_aligned);
  }
};

// Dequantises rows. The next item is being loaded while the warp works on an item.
//
// NOTE: the loads of a loop share one scoreboard, so that a wait for one of them is a wait for all.
// So the warp waits for an item before it starts to load the next one.
template <class Room>
class QuantisedGatherer : Gatherer<Room> {
  using G = Gatherer<Room>;
  using Format = typename Room::Format;
  using Position = typename G::Position;
  using I = Items<Format>;
  static constexpr int own_units = 4;

  // What a lane has of an item, as it is in the cache.
  struct Raw {
    uint4 units[own_units];
    std::uint32_t scales[own_units];  // of the codes; Format::scale() decodes them
  };

 public:
  FLASHMLA_DEVICE QuantisedGatherer(const Params& params, const typename Room::Shared& addresses,
                                    typename Room::Storage& memory, int warp)
      : G(params, addresses, memory, warp) {}

  // NOTE: two items in turn, so that what is loaded need not move between registers.
  FLASHMLA_DEVICE void gather_all() {
    Raw even;
    Raw odd;
    if (!load_item(even))
      return;
    while (gather_item(even, odd) && gather_item(odd, even)) {
    }
  }

 private:
  // Writes the item that has been loaded to `raw`, and starts to load the next one to `upcoming`.
  // False: there is none any more.
  FLASHMLA_DEVICE bool gather_item(const Raw& raw, Raw& upcoming) {
    const BlockHeader of_block = G::header;
    const Position now = G::now;
    G::go_on();
    // NOTE: this looks at everything that was loaded, in front of the next loads.
    const bool shifts = allows_shifts(now, raw);
    const bool more = load_item(upcoming);
    const int part = part_of(now);
    G::acquire_keys(now, part);
    write_codes(now, raw, shifts);
    G::commit(now, part, first_group(now) == 0, of_block);
    return more;
  }

  static FLASHMLA_DEVICE int side_of(const Position& at) { return at.item / groups_of_block; }
  static FLASHMLA_DEVICE int first_group(const Position& at) { return at.item % groups_of_block; }
  // The number of the first token of an item in its block.
  static FLASHMLA_DEVICE int first_token(const Position& at) {
    return first_group(at) * group_tokens;
  }
  static FLASHMLA_DEVICE int part_of(const Position& at) {
    return Room::key_parts == 1 ? 0 : side_of(at);
  }

  // A lane has the units of tokens 2i + parity() of the group, all in one chunk.
  static FLASHMLA_DEVICE int parity() { return G::lane() / 4 % 2; }
  static FLASHMLA_DEVICE int code_unit() { return G::lane() % 4; }
  static FLASHMLA_DEVICE int chunk_of(const Position& at) {
    return 4 * side_of(at) + G::lane() / 8;
  }
  // Whether the lane's chunk holds codes. Other lanes load what lies there and write nothing.
  static FLASHMLA_DEVICE bool has_codes(const Position& at) {
    return Format::code_chunks == I::v_chunks || chunk_of(at) < Format::code_chunks;
  }

  // Starts to load item G::now. False: there is none any more.
  FLASHMLA_DEVICE bool load_item(Raw& raw) {
    if (!G::wait_for_slots())
      return false;
    const SlotBlock<Format>& slots = G::slots();
    const int chunk = chunk_of(G::now);
    const int offset = chunk * tile::chunk_columns + code_unit() * ops::unit_codes;
    const int place = place_of(first_token(G::now) + parity());
#pragma unroll
    for (int i = 0; i < own_units; ++i)
      raw.units[i] = ptx::load_constant_unit(slots.rows[place + i] + offset);
#pragma unroll
    for (int i = 0; i < own_units; ++i)
      raw.scales[i] = Format::load_scale(slots, place + i, chunk);
    G::release_slots();
    return true;
  }

  // Whether the warp may dequantise an item by shifts.
  static FLASHMLA_DEVICE bool allows_shifts(const Position& at, const Raw& raw) {
    std::uint32_t nan = 0;
    bool fit = true;
#pragma unroll
    for (int i = 0; i < own_units; ++i) {
      nan |= ops::find_nan_codes(raw.units[i]);
      fit = fit && ops::CodeScale::fits_shifts(Format::scale(raw.scales[i]));
    }
    return !ops::any_in_warp((ops::has_nan_codes(nan) || !fit) && has_codes(at));
  }

  FLASHMLA_DEVICE void write_codes(const Position& at, const Raw& raw, bool by_shifts) const {
    if (by_shifts) [[likely]] {
      write_units(at, [&](int i, std::uint32_t(&values)[8]) {
        ops::dequantise_by_shifts(raw.units[i],
                                  ops::CodeScale::for_shifts(Format::scale(raw.scales[i])), values);
      });
    } else {
      write_units(at, [&](int i, std::uint32_t(&values)[8]) {
        ops::dequantise_by_conversions(raw.units[i], Format::scale(raw.scales[i]), values);
      });
    }
  }

  template <class Dequantise>
  FLASHMLA_DEVICE void write_units(const Position& at, Dequantise dequantise) const {
    const std::uint32_t chunk = G::target(at, chunk_of(at)) + first_token(at) * tile::row_bytes;
#pragma unroll
    for (int i = 0; i < own_units; ++i) {
      std::uint32_t values[8];
      dequantise(i, values);
      const std::uint32_t to = chunk + tile::swizzled(2 * i + parity(), 2 * code_unit());
      if (has_codes(at)) {
        ptx::store_shared(to, uint4{values[0], values[1], values[2], values[3]});
        ptx::store_shared(to ^ tile::unit_bytes, uint4{values[4], values[5], values[6], values[7]});
      }
    }
  }
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
