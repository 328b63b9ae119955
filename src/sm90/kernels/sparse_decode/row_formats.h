// How the gathering warps read the rows of each cache format.
#pragma once

#include <cstdint>

#include "flashmla/kv_format.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/ptx/load_store.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::sparse_decode {

// A row of 64 · Chunks bf16 numbers.
template <int Chunks>
struct PlainRows {
  static constexpr bool quantised = false;
  static constexpr int chunks = Chunks;
  static constexpr bool scales_apart = false;
  static constexpr int scratch_scales = 4;  // not used
};

// What follows is about the FP8 formats. A lane of a gathering warp has one unit of 16 codes of each
// of four tokens, all in one chunk, and so one scale of each token.
struct V32Rows {
  static constexpr bool quantised = true;
  static constexpr int chunks = 9;
  static constexpr int code_chunks = 8;
  static constexpr int rotary_offset = V32Layout::rotary_offset;
  static constexpr int scales = V32Layout::tiles;  // of a token
  static constexpr int lane_scales = 1;            // scales of a group that a lane loads
  static constexpr bool scales_apart = false;      // from the rows of their tokens
  static constexpr int scratch_scales = group_tokens * scales;

  // The scale of a chunk.
  static FLASHMLA_DEVICE int scale_of(int chunk) {
    return chunk / static_cast<int>(V32Layout::tile_elements / tile::chunk_columns);
  }

  // Loads scale lane % 4 of token lane / 4 of a group.
  static FLASHMLA_DEVICE void load_scales(const SlotBlock<V32Rows>& block, int place, int lane,
                                          std::uint32_t (&loaded)[lane_scales]) {
    loaded[0] = ptx::load_constant_word(block.rows[place] + V32Layout::scales_offset +
                                        lane % 4 * sizeof(float));
  }
  static FLASHMLA_DEVICE float scale(const std::uint32_t (&loaded)[lane_scales], int /*i*/) {
    return __uint_as_float(loaded[0]);
  }
};

struct V4Rows {
  static constexpr bool quantised = true;
  static constexpr int chunks = 8;
  static constexpr int code_chunks = 7;
  static constexpr int rotary_offset = V4Layout::rotary_offset;
  static constexpr int scales = V4Layout::scales_bytes;  // of a token; the last one is not one
  static constexpr int lane_scales = 2;
  static constexpr bool scales_apart = true;
  static constexpr int scratch_scales = group_tokens * scales;

  static FLASHMLA_DEVICE int scale_of(int chunk) { return chunk; }

  // Bytes from the start of a row to its scales.
  static FLASHMLA_DEVICE std::int32_t scales_behind(std::int32_t page_size, std::int32_t in_page) {
    constexpr auto row = static_cast<std::int32_t>(V4Layout::row_bytes);
    constexpr auto scales_of_row = static_cast<std::int32_t>(V4Layout::scales_bytes);
    return page_size * row - in_page * (row - scales_of_row);
  }

  // Loads scales 2 · (lane % 4) and the next one of token lane / 4 of a group.
  static FLASHMLA_DEVICE void load_scales(const SlotBlock<V4Rows>& block, int place, int lane,
                                          std::uint32_t (&loaded)[lane_scales]) {
    loaded[0] =
        ptx::load_constant_half_word(block.rows[place] + block.scales[place] + lane % 4 * 2);
  }
  // 2^(s − 127); 255 is NaN. The eighth byte of a token may hold anything, so it counts as 1.
  static FLASHMLA_DEVICE float scale(const std::uint32_t (&loaded)[lane_scales], int i) {
    const bool eighth = i == 1 && threadIdx.x % 4 == 3;
    const std::uint32_t s = eighth ? 0x7f : loaded[0] >> 8 * i & 0xff;
    return __uint_as_float(s == 0 ? 0x00400000u : s == 0xff ? 0x7fffffffu : s << 23);
  }
};

}  // namespace flashmla::sm90::sparse_decode
