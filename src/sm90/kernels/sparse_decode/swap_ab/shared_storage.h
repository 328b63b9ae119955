// Shared memory of the sparse kernel for tiles of 16 or 32 rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sm90/attend/swap_ab/consumer.h"
#include "sm90/kernels/sparse_decode/items.h"
#include "sm90/kernels/sparse_decode/ring_memory.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/tile/limits.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::sparse_decode::swap_ab {

using attend::swap_ab::chunk_bytes;
using attend::swap_ab::consumer_threads;
using attend::swap_ab::consumer_warps;

// The warpgroups of a CTA: scorers, valuers, and those whose first warp reads the index lists,
// whose second one copies rotary parts of FP8 caches, and whose others gather cached rows.
// Registers are those of a thread after the roles are known.
template <int Rows>
struct Roles {
  static constexpr int gather_warpgroups = Rows == 16 ? 4 : 3;
  static constexpr int warpgroups = 2 + gather_warpgroups;
  static constexpr int threads = warpgroups * consumer_threads;
  static constexpr int reader = 2 * consumer_warps;  // number of the warp
  static constexpr int rotary = reader + 1;          // the same
  static constexpr int gather_warps = gather_warpgroups * consumer_warps - 2;

  static constexpr int launch_registers = tile::registers_of_thread(threads);
  static constexpr int scorer_registers = 88;
  static constexpr int valuer_registers = Rows == 16 ? 104 : 176;
  static constexpr int gather_registers = 72;
  static_assert(scorer_registers + valuer_registers + gather_warpgroups * gather_registers <=
                warpgroups * launch_registers);
};

using Counts = RingCounts<2, 1, 2>;

template <class Format, int Rows>
struct SharedStorage : Counts {
  static constexpr int chunks = Format::chunks;

  std::uint8_t keys[key_slots][chunks][chunk_bytes];
  std::uint8_t query[chunks][Rows * tile::row_bytes];
  std::uint8_t weights[weight_slots][Rows * tile::row_bytes];  // P: [row][64 tokens]
  // The scorers raise the maxima of rows, and the valuers multiply `out` by these factors.
  alignas(16) float factor[weight_slots][Rows];
  bool rescales[weight_slots];             // whether any factor is not 1
  alignas(16) float exchange[2][4][Rows];  // [turn][warp]: a value of each row
  // For each row at the end of a segment: Σ P over the tokens of each warp, and Σ of the rounded P.
  float sum[4][Rows];
  float divisor[4][Rows];
  bool out_of_range[1][4];  // a warp has values that do not fit fp16
  float row_max[Rows];
  float row_factor[1][Rows];
  RingMemory<Format, Counts> rings;
};

template <class Format, int Rows>
struct SharedAddresses : RingAddresses<SharedStorage<Format, Rows>> {
  using Storage = SharedStorage<Format, Rows>;
  using RingAddresses<Storage>::at;

  FLASHMLA_DEVICE std::uint32_t keys(int slot) const {
    return at(offsetof(Storage, keys)) + slot * Format::chunks * chunk_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t query(int chunk) const {
    return at(offsetof(Storage, query)) + chunk * Rows * tile::row_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t weights(int slot) const {
    return at(offsetof(Storage, weights)) + slot * Rows * tile::row_bytes;
  }
};

enum NamedBarrier : int {
  scorers_met = 1,
  valuers_met = 2,
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
  static constexpr int paired_chunks = 0;
  static constexpr bool sums_rounded = true;
  static constexpr int score_groups = 1;
  static constexpr int value_groups = 1;
  static constexpr int gather_warps = Roles<Rows>::gather_warps;
  static constexpr bool has_rotary_warp = Format::quantised;
  static constexpr int key_parts = 1;  // a block of keys arrives and is given back as a whole
  static constexpr int scorers_met = swap_ab::scorers_met;
  static constexpr int finishers_met = valuers_met;
  static constexpr bool two_warpgroups = true;
  static constexpr int last_blocks = last_blocks_of<Format>(gather_warps);
  using Params = sparse_decode::Params;
  using Storage = SharedStorage<Format, Rows>;
  using Shared = SharedAddresses<Format, Rows>;
};

}  // namespace flashmla::sm90::sparse_decode::swap_ab
