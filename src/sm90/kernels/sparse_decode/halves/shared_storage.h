// Shared memory and named barriers of the sparse kernel for tiles of 64 rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sm90/attend/half_results.h"
#include "sm90/kernels/sparse_decode/items.h"
#include "sm90/kernels/sparse_decode/ring_memory.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/tile/limits.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::sparse_decode::halves {

inline constexpr int tile_rows = 64;
inline constexpr std::uint32_t chunk_bytes = tile_rows * tile::row_bytes;
inline constexpr int warpgroup_threads = 128;
inline constexpr int warpgroup_warps = 4;
inline constexpr int consumer_threads = 2 * warpgroup_threads;
inline constexpr int threads = 4 * warpgroup_threads;
inline constexpr int gather_warps = 7;  // of two warpgroups; the eighth warp reads the lists

// A block of keys arrives and is given back in two parts: the left half of V, chunks 0 … 3, and the
// right half. The left part also has the chunk that only QK reads.
inline constexpr int key_parts = 2;

using Counts = RingCounts<2, key_parts, 1>;

template <class Format>
struct SharedStorage : Counts {
  static constexpr int chunks = Format::chunks;

  // [chunk][row]. At the end of a segment the results pass through the first eight chunks, and the
  // totals of the rows through the last one.
  std::uint8_t query[9][chunk_bytes];
  std::uint8_t keys[key_slots][chunks][chunk_bytes];
  std::uint8_t weights[chunk_bytes];  // P: [row][64 tokens]
  float factor[tile_rows];            // of the accumulators, in front of the product with `weights`
  RingMemory<Format, Counts> rings;
};

template <class Format>
struct SharedAddresses : RingAddresses<SharedStorage<Format>> {
  using Storage = SharedStorage<Format>;
  using RingAddresses<Storage>::at;

  FLASHMLA_DEVICE std::uint32_t query(int chunk) const {
    return at(offsetof(Storage, query)) + chunk * chunk_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t keys(int slot) const {
    return at(offsetof(Storage, keys)) + slot * Format::chunks * chunk_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t weights() const { return at(offsetof(Storage, weights)); }
  FLASHMLA_DEVICE std::uint32_t factor(int row) const {
    return at(offsetof(Storage, factor)) + row * sizeof(float);
  }
  // [maximum, Σ P, Σ of the rounded P][row] at the end of a segment.
  FLASHMLA_DEVICE std::uint32_t totals(int which, int row) const {
    return query(8) + (which * tile_rows + row) * sizeof(float);
  }
};

inline constexpr int leader_met = 1;  // named barrier of the threads of the leader

// What the gathering warps know of this kernel.
template <class RowFormat>
struct Room {
  using Type = __nv_bfloat16;
  using Format = RowFormat;
  static constexpr int gather_warps = halves::gather_warps;
  static constexpr int key_parts = halves::key_parts;
  static constexpr bool has_rotary_warp = false;
  static constexpr int last_blocks = last_blocks_of<Format>(gather_warps);
  using Params = sparse_decode::Params;
  using Storage = SharedStorage<Format>;
  using Shared = SharedAddresses<Format>;
};

// Registers of a thread after the roles are known.
inline constexpr int leader_registers = 208;
inline constexpr int follower_registers = 160;
inline constexpr int gather_registers = 72;
static_assert(leader_registers + follower_registers + 2 * gather_registers <=
              4 * tile::registers_of_thread(threads));

}  // namespace flashmla::sm90::sparse_decode::halves
