// Shared memory of the sparse kernel for tiles of 16 or 32 rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sm90/attend/swap_ab/consumer.h"
#include "sm90/attend/tile_segment.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/pipeline/ring.h"
#include "sm90/tile/limits.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::sparse_decode::swap_ab {

using attend::swap_ab::chunk_bytes;
using attend::swap_ab::consumer_threads;
using attend::swap_ab::consumer_warps;

inline constexpr int threads = 512;
inline constexpr int gather_warps = threads / 32 - consumer_warps - 1;

template <int Chunks, int Rows>
struct SharedStorage {
  static constexpr int key_slots = 2;
  static constexpr int segment_slots = 2;

  std::uint8_t keys[key_slots][Chunks][chunk_bytes];
  std::uint8_t query[Chunks][Rows * tile::row_bytes];
  std::uint8_t weights[Rows * tile::row_bytes];  // P: [row][64 tokens]
  float scales[gather_warps][64];                // of the group that a warp dequantises
  float exchange[2][4][Rows];                    // [turn][warp]: a value of each row
  // For each row at the end of a segment: Σ P over the tokens of each warp, and Σ of the rounded P.
  float sum[4][Rows];
  float divisor[4][Rows];
  bool out_of_range[4];  // a warp has values that do not fit fp16
  float row_max[Rows];
  float row_factor[Rows];
  SlotBlock slots[slot_blocks];
  BlockHeader headers[key_slots];  // of the blocks in `keys`
  attend::TileSegment segments[segment_slots];

  pipeline::RingBarriers<key_slots> key_barriers;
  pipeline::RingBarriers<slot_blocks> slot_barriers;
  pipeline::RingBarriers<segment_slots> segment_barriers;
};

static_assert(sizeof(SharedStorage<9, 32>) <= tile::max_shared_bytes);

// The consumers load the queries themselves, and nobody waits for their memory.
struct NoRing {
  FLASHMLA_DEVICE void release() const {}
};

template <int Chunks, int Rows>
struct SharedAddresses {
  using Storage = SharedStorage<Chunks, Rows>;
  std::uint32_t base;

  FLASHMLA_DEVICE std::uint32_t at(std::size_t offset) const {
    return base + static_cast<std::uint32_t>(offset);
  }
  FLASHMLA_DEVICE std::uint32_t keys(int slot) const {
    return at(offsetof(Storage, keys)) + slot * Chunks * chunk_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t query(int chunk) const {
    return at(offsetof(Storage, query)) + chunk * Rows * tile::row_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t weights() const { return at(offsetof(Storage, weights)); }
  FLASHMLA_DEVICE std::uint32_t scales(int warp) const {
    return at(offsetof(Storage, scales)) + warp * sizeof(float[64]);
  }
  FLASHMLA_DEVICE pipeline::Ring<Storage::key_slots> key_ring() const {
    return {at(offsetof(Storage, key_barriers))};
  }
  FLASHMLA_DEVICE pipeline::Ring<slot_blocks> slot_ring() const {
    return {at(offsetof(Storage, slot_barriers))};
  }
  FLASHMLA_DEVICE pipeline::Ring<Storage::segment_slots> segment_ring() const {
    return {at(offsetof(Storage, segment_barriers))};
  }
  static FLASHMLA_DEVICE NoRing query_ring() { return {}; }
};

// What attend::swap_ab::Consumer and the gathering warps know of this kernel.
template <class RowFormat, int Rows>
struct Room {
  using Type = __nv_bfloat16;
  using Format = RowFormat;
  static constexpr int chunks = Format::chunks;
  static constexpr int rows = Rows;
  static constexpr int slots_per_block = 1;
  static constexpr int cluster_size = 1;
  static constexpr int gather_warps = swap_ab::gather_warps;
  using Params = sparse_decode::Params;
  using Storage = SharedStorage<chunks, Rows>;
  using Shared = SharedAddresses<chunks, Rows>;
};

// Registers of a thread after the roles are known, where tiles have 32 rows. The other roles leave
// theirs to the consumers.
inline constexpr int consumer_registers = 216;
inline constexpr int other_registers = 96;
static_assert(consumer_registers + 3 * other_registers <= 4 * tile::registers_of_thread(threads));

}  // namespace flashmla::sm90::sparse_decode::swap_ab
