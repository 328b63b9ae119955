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
  static constexpr bool scales_apart = false;
  static constexpr int scratch_scales = 1;  // not used
  static constexpr int chunks = Chunks;
};

// What follows is about the FP8 formats. A lane of a gathering warp reads a row in two sides of 16
// units of 16 codes; four units are a chunk. It has one unit of each side and token, in chunk
// 4 · side + lane / 8, and the scale of that chunk.
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
    const std::uint8_t* row = block.rows[place];
    loaded[0] = row == nullptr
                    ? 0
                    : __ldg(reinterpret_cast<const std::uint32_t*>(
                          row + V32Layout::scales_offset + lane % 4 * sizeof(float)));
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
    const std::uint8_t* row = block.rows[place];
    std::uint32_t both = 0x7f7f;  // 1, 1
    if (row != nullptr)
      both = __ldg(reinterpret_cast<const std::uint16_t*>(row + block.scales[place] + lane % 4 * 2));
    loaded[0] = both & 0xff;
    loaded[1] = lane % 4 == 3 ? 0x7f : both >> 8;  // the eighth byte may hold anything
  }
  // 2^(s − 127); 255 is NaN.
  static FLASHMLA_DEVICE float scale(const std::uint32_t (&loaded)[lane_scales], int i) {
    const std::uint32_t s = loaded[i];
    return __uint_as_float(s == 0 ? 0x00400000u : s == 0xff ? 0x7fffffffu : s << 23);
  }
};

}  // namespace flashmla::sm90::sparse_decode
