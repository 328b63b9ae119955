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
// Shared: keys(slot), key_ring(), slot_ring(). Storage: slots, headers, scales.
template <class Room>
class Gatherer {
 protected:
  using Shared = typename Room::Shared;
  using Storage = typename Room::Storage;
  using Format = typename Room::Format;
  static constexpr int key_slots = Storage::key_slots;
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
  FLASHMLA_DEVICE const SlotBlock& slots_of(const GroupPosition& at) const {
    return storage.slots[at.block.template slot_in<slot_blocks>()];
  }

  // Waits for the block of slots. False: there is none any more.
  FLASHMLA_DEVICE bool wait_for_slots(const GroupPosition& at) const {
    shared.slot_ring().wait(at.block);
    return !slots_of(at).header.end;
  }

  FLASHMLA_DEVICE void acquire_keys() const { shared.key_ring().acquire(now.block); }

  // Where the first row of the group lies in the first chunk of the block.
  FLASHMLA_DEVICE std::uint32_t target() const {
    return shared.keys(now.block.template slot_in<key_slots>()) +
           now.group * group_tokens * tile::row_bytes;
  }

  // Shows the rows to the consumers, and gives the slots back, after all lanes have written and
  // read them.
  FLASHMLA_DEVICE void commit() {
    ptx::fence_async_proxy();
    __syncwarp();
    if (lane() == 0) {
      if (now.group == 0)
        storage.headers[now.block.template slot_in<key_slots>()] = slots_of(now).header;
      shared.key_ring().commit(now.block);
      shared.slot_ring().release(now.block);
    }
  }

  const Params& p;
  Shared shared;
  Storage& storage;
  GroupPosition now{};
};

// Copies rows of bf16 numbers.
template <class Room>
class PlainGatherer : Gatherer<Room> {
  using G = Gatherer<Room>;

 public:
  FLASHMLA_DEVICE PlainGatherer(const Params& params, const typename Room::Shared& addresses,
                                typename Room::Storage& memory, int warp)
      : G(params, addresses, memory, warp) {}

  FLASHMLA_DEVICE void gather_all() {
    for (; G::wait_for_slots(G::now); G::now.template advance<Room::gather_warps>()) {
      const std::uint8_t* rows[2];
#pragma unroll
      for (int i = 0; i < 2; ++i)
        rows[i] = G::slots_of(G::now).rows[place_of(G::now.group * group_tokens + row(i))];
      G::acquire_keys();
      const std::uint32_t target = G::target();
#pragma unroll
      for (int chunk = 0; chunk < Room::Format::chunks; ++chunk)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          ops::load_unit(target + chunk * G::chunk_bytes + tile::swizzled(row(i), unit()),
                         reinterpret_cast<const std::uint16_t*>(rows[i]) +
                             chunk * tile::chunk_columns + unit() * 8,
                         rows[i] != nullptr, G::p.kv_aligned);
      ptx::wait_for_copies();
      G::commit();
    }
  }

 private:
  static FLASHMLA_DEVICE int row(int i) { return G::lane() / tile::units_per_row + 4 * i; }
  static FLASHMLA_DEVICE int unit() { return G::lane() % tile::units_per_row; }
};

// Dequantises rows. The codes of the next group are being loaded while a group is dequantised.
template <class Room>
class QuantisedGatherer : Gatherer<Room> {
  using G = Gatherer<Room>;
  using Format = typename Room::Format;
  static constexpr int sides = 2;
  static constexpr int own_tokens = group_tokens / 2;  // tokens 2i + lane / 4 % 2 of the group

 public:
  FLASHMLA_DEVICE QuantisedGatherer(const Params& params, const typename Room::Shared& addresses,
                                    typename Room::Storage& memory, int warp)
      : G(params, addresses, memory, warp),
        scratch(addresses.scales(warp)) {}

  FLASHMLA_DEVICE void gather_all() {
    if (!G::wait_for_slots(G::now))
      return;
    load_scales(G::now);
    load_codes<0>(G::now);
    load_codes<1>(G::now);
    bool more = true;
    while (more) {
      const bool shifts = show_scales();
      GroupPosition next = G::now;
      next.template advance<Room::gather_warps>();
      more = G::wait_for_slots(next);
      if (more)
        load_scales(next);
      G::acquire_keys();
      copy_rotary();
      write_side<0>(shifts);
      if (more)
        load_codes<0>(next);
      write_side<1>(shifts);
      if (more)
        load_codes<1>(next);
      ptx::wait_for_copies();
      G::commit();
      G::now = next;
    }
  }

 private:
  static FLASHMLA_DEVICE int parity() { return G::lane() / 4 % 2; }
  static FLASHMLA_DEVICE int unit_in_chunk() { return G::lane() % 4; }
  static FLASHMLA_DEVICE int chunk(int side) { return 4 * side + G::lane() / 8; }
  // Whether the lane's chunk of the side holds codes.
  static FLASHMLA_DEVICE bool has_codes(int side) {
    return Format::code_chunks == 8 || chunk(side) < Format::code_chunks;
  }

  FLASHMLA_DEVICE void load_scales(const GroupPosition& at) {
    Format::load_scales(G::slots_of(at), place_of(at.group * group_tokens + G::lane() / 4),
                        G::lane(), scales);
  }

  template <int Side>
  FLASHMLA_DEVICE void load_codes(const GroupPosition& at) {
    const std::uint8_t* const* rows =
        G::slots_of(at).rows + place_of(at.group * group_tokens + parity());
#pragma unroll
    for (int i = 0; i < own_tokens; ++i) {
      const std::uint8_t* row = rows[i];
      codes[Side][i] = ptx::load_unit_if(row != nullptr && has_codes(Side),
                                         row + chunk(Side) * tile::chunk_columns +
                                             unit_in_chunk() * ops::unit_codes);
    }
  }

  // Writes the scales of the group, [parity of the token][scale][token / 2], in the form that the
  // warp needs. Returns whether this is the form for shifts.
  FLASHMLA_DEVICE bool show_scales() {
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

  // The rotary part is bf16 already. It is the last chunk.
  FLASHMLA_DEVICE void copy_rotary() const {
    const std::uint32_t target = G::target() + (Format::chunks - 1) * G::chunk_bytes;
    const int unit = G::lane() % tile::units_per_row;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int token = G::lane() / tile::units_per_row + 4 * i;
      const std::uint8_t* row =
          G::slots_of(G::now).rows[place_of(G::now.group * group_tokens + token)];
      ptx::copy_async(target + tile::swizzled(token, unit),
                      row + Format::rotary_offset + unit * tile::unit_bytes, row != nullptr);
    }
  }

  template <int Side>
  FLASHMLA_DEVICE void write_side(bool shifts) {
    std::uint32_t nan = 0;
#pragma unroll
    for (int i = 0; i < own_tokens; ++i)
      nan = ops::find_nan_codes(codes[Side][i], nan);
    const bool by_shifts = shifts && !ops::any_in_warp(ops::has_nan_codes(nan));
    const uint4 four = ptx::load_shared_unit(
        scratch + scale_offset(parity(), Format::scale_of(has_codes(Side) ? chunk(Side) : 0)));
    const std::uint32_t own_scales[own_tokens] = {four.x, four.y, four.z, four.w};
    if (by_shifts) [[likely]] {
      write_units<Side>([&](int i, std::uint32_t(&values)[8]) {
        ops::dequantise_by_shifts(codes[Side][i], own_scales[i], values);
      });
    } else {
      write_units<Side>([&](int i, std::uint32_t(&values)[8]) {
        ops::dequantise_by_conversions(codes[Side][i],
                                       shifts ? ops::CodeScale::of_shifts(own_scales[i])
                                              : __uint_as_float(own_scales[i]),
                                       values);
      });
    }
  }

  template <int Side, class Dequantise>
  FLASHMLA_DEVICE void write_units(Dequantise dequantise) const {
    const std::uint32_t target = G::target() + chunk(Side) * G::chunk_bytes;
#pragma unroll
    for (int i = 0; i < own_tokens; ++i) {
      std::uint32_t values[8];
      dequantise(i, values);
      const std::uint32_t to = target + tile::swizzled(2 * i + parity(), 2 * unit_in_chunk());
      if (has_codes(Side)) {
        ptx::store_shared(to, uint4{values[0], values[1], values[2], values[3]});
        ptx::store_shared(to ^ tile::unit_bytes, uint4{values[4], values[5], values[6], values[7]});
      }
    }
  }

  std::uint32_t scratch;  // shared address of the warp's scales
  uint4 codes[sides][own_tokens];
  std::uint32_t scales[Format::lane_scales];
};

}  // namespace flashmla::sm90::sparse_decode
