// How the gathering warps read the rows of each cache format.
#pragma once

#include <cstdint>

#include "flashmla/kv_format.h"
#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/ops/tile_scale.h"
#include "sm90/ptx/load_store.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::sparse_decode {

// A row of 64 · Chunks bf16 numbers.
template <int Chunks>
struct PlainRows {
  static constexpr bool quantised = false;
  static constexpr int chunks = Chunks;
  static constexpr bool scales_apart = false;
};

// What follows is about the FP8 formats. A lane of a gathering warp has one unit of 16 codes of
// each of four tokens, all in one chunk, and so one scale of each token.
struct V32Rows {
  static constexpr bool quantised = true;
  static constexpr int chunks = 9;
  static constexpr int code_chunks = 8;
  static constexpr int rotary_offset = V32Layout::rotary_offset;
  static constexpr bool scales_apart = false;  // from the rows of their tokens

  // Loads the scale of a chunk of the token at `place`. scale() decodes it.
  static FLASHMLA_DEVICE std::uint32_t load_scale(const SlotBlock<V32Rows>& block, int place,
                                                  int chunk) {
    constexpr int tile_chunks = V32Layout::tile_elements / tile::chunk_columns;
    return ptx::load_constant_word(block.rows[place] + V32Layout::scales_offset +
                                   chunk / tile_chunks * sizeof(float));
  }
  static FLASHMLA_DEVICE float scale(std::uint32_t loaded) { return __uint_as_float(loaded); }
};

struct V4Rows {
  static constexpr bool quantised = true;
  static constexpr int chunks = 8;
  static constexpr int code_chunks = 7;
  static constexpr int rotary_offset = V4Layout::rotary_offset;
  static constexpr bool scales_apart = true;

  // Bytes from the start of a row to its scales.
  static FLASHMLA_DEVICE std::int32_t scales_behind(std::int32_t page_size, std::int32_t in_page) {
    constexpr auto row = static_cast<std::int32_t>(V4Layout::row_bytes);
    constexpr auto scales_of_row = static_cast<std::int32_t>(V4Layout::scales_bytes);
    return page_size * row - in_page * (row - scales_of_row);
  }

  // NOTE: the eighth byte of a token, that of the rotary chunk, may hold anything. Nothing uses
  // what follows from it.
  static FLASHMLA_DEVICE std::uint32_t load_scale(const SlotBlock<V4Rows>& block, int place,
                                                  int chunk) {
    return ptx::load_constant_byte(block.rows[place] + block.scales[place] + chunk);
  }
  // 2^(s − 127); 255 is NaN.
  static FLASHMLA_DEVICE float scale(std::uint32_t s) { return __uint_as_float(ops::e8m0_bits(s)); }
};

}  // namespace flashmla::sm90::sparse_decode
