// Shared memory of the sparse kernel for FP8 caches, and its roles.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sm90/attend/swap_ab/consumer.h"
#include "sm90/kernels/sparse_decode/codes/row_codes.h"
#include "sm90/kernels/sparse_decode/ring_memory.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/ops/scale_unit.h"
#include "sm90/tile/limits.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::sparse_decode::codes {

using attend::swap_ab::chunk_bytes;
using attend::swap_ab::consumer_threads;
using attend::swap_ab::consumer_warps;

inline constexpr int tile_rows = 16;

// The warpgroups of a CTA: two of scorers, two of valuers, and one whose first warp reads the index
// lists and whose others copy rows. Registers are those of a thread after the roles are known.
inline constexpr int score_groups = 2;
inline constexpr int value_groups = 2;
inline constexpr int warpgroups = score_groups + value_groups + 1;
inline constexpr int threads = warpgroups * consumer_threads;
inline constexpr int score_warps = score_groups * consumer_warps;
inline constexpr int reader = (warpgroups - 1) * consumer_warps;  // number of the warp
inline constexpr int copy_warps = consumer_warps - 1;

inline constexpr int launch_registers = tile::registers_of_thread(threads);
inline constexpr int scorer_registers = 112;
inline constexpr int valuer_registers = 96;
inline constexpr int copier_registers = 64;
static_assert(score_groups * scorer_registers + value_groups * valuer_registers +
                  copier_registers <=
              warpgroups * launch_registers);

using Counts = RingCounts<4, 1, 2>;

template <class Format>
struct SharedStorage : Counts {
  using Scales = RowScales<Format>;
  // Matrices P: one for each scale of a token, multiplied by it, and one for the rotary chunk where
  // that is one of V.
  static constexpr int weight_forms =
      Scales::count + (Format::chunks == Format::code_chunks + 1 && Format::chunks * 64 == v_dim);
  static constexpr bool has_rotary_values = weight_forms > Scales::count;
  static constexpr int rotary_form = weight_forms - 1;

  std::uint8_t query[Format::chunks][tile_rows * tile::row_bytes];
  std::uint8_t rotary[key_slots][chunk_bytes];
  std::uint8_t weights[weight_slots][weight_forms]
                      [tile_rows * tile::row_bytes];  // [row][64 tokens]
  std::uint8_t codes[key_slots][block_tokens * CodeRows<Format>::bytes];
  alignas(16) std::uint8_t scales[key_slots][block_tokens * Scales::bytes];
  // The latent part of a row of the queries is multiplied by a power of two. This is its
  // reciprocal.
  alignas(16) float query_unit[tile_rows];
  ops::ScaleRange scale_range[2][score_warps];  // [turn][warp]
  // The scorers raise the maxima of rows, and the valuers multiply `out` by these factors.
  alignas(16) float factor[weight_slots][tile_rows];
  bool rescales[weight_slots];     // whether any factor is not 1
  bool plain_codes[weight_slots];  // whether `weights` are multiplied by the scales
  alignas(16) float exchange[2][score_warps][tile_rows];  // [turn][warp]: a value of each row
  // For each row at the end of a segment: Σ P over the tokens of each warp, and Σ of the rounded P.
  float sum[score_warps][tile_rows];
  float divisor[score_warps][tile_rows];
  bool out_of_range[value_groups][4];  // a warp has values that do not fit fp16
  float row_max[tile_rows];
  float row_factor[value_groups][tile_rows];
  RingMemory<Format, Counts> rings;
};

template <class Format>
struct SharedAddresses : RingAddresses<SharedStorage<Format>> {
  using Storage = SharedStorage<Format>;
  using RingAddresses<Storage>::at;

  FLASHMLA_DEVICE std::uint32_t codes(int slot) const {
    return at(offsetof(Storage, codes)) + slot * block_tokens * CodeRows<Format>::bytes;
  }
  FLASHMLA_DEVICE std::uint32_t rotary(int slot) const {
    return at(offsetof(Storage, rotary)) + slot * chunk_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t scales(int slot, int token) const {
    return at(offsetof(Storage, scales)) + (slot * block_tokens + token) * RowScales<Format>::bytes;
  }
  FLASHMLA_DEVICE std::uint32_t query(int chunk) const {
    return at(offsetof(Storage, query)) + chunk * tile_rows * tile::row_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t weights(int slot, int form) const {
    return at(offsetof(Storage, weights)) +
           (slot * Storage::weight_forms + form) * tile_rows * tile::row_bytes;
  }
};

enum NamedBarrier : int {
  scorers_met_barrier = 1,
  valuers_met_barrier = 2,
};

// What attend::swap_ab::Consumer and the other warps know of this kernel.
template <class RowFormat>
struct Room {
  using Type = __nv_bfloat16;
  using Format = RowFormat;
  static constexpr int chunks = Format::chunks;
  static constexpr int rows = tile_rows;
  static constexpr int slots_per_block = 1;
  static constexpr int cluster_size = 1;
  static constexpr int paired_chunks = Format::code_chunks;
  static constexpr bool sums_rounded = false;
  static constexpr int score_groups = codes::score_groups;
  static constexpr int value_groups = codes::value_groups;
  static constexpr bool has_rotary_warp = true;
  static constexpr int scorers_met = scorers_met_barrier;
  static constexpr int finishers_met = valuers_met_barrier;
  static constexpr bool two_warpgroups = true;
  static constexpr int last_blocks = 1;  // all copying warps see every block
  using Params = sparse_decode::Params;
  using Storage = SharedStorage<Format>;
  using Shared = SharedAddresses<Format>;
};

}  // namespace flashmla::sm90::sparse_decode::codes
