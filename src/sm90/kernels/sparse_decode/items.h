// How the work on a block of cached rows is divided among the gathering warps.
#pragma once

#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::sparse_decode {

// The items of a block: what one warp gathers at a time. They are numbered in the order in which
// the consumers need them.
template <class Format>
struct Items {
  static constexpr int v_chunks = v_dim / tile::chunk_columns;

  // FP8 caches: the rotary parts of 16 tokens, or half of the codes of a group of 8 tokens, which is
  // four chunks (a side). Where the rotary part belongs to V, it comes last, otherwise first.
  static constexpr int rotary = Format::quantised ? 4 : 0;
  static constexpr int rotary_tokens = 16;
  static constexpr bool rotary_is_value = Format::chunks == v_chunks;
  static constexpr int first_rotary = rotary_is_value ? 2 * groups_of_block : 0;
  static constexpr int first_code = rotary_is_value ? 0 : rotary;
  static constexpr int of_quantised = 2 * groups_of_block + rotary;

  // Other caches: a group of 8 tokens.
  static constexpr int count = Format::quantised ? of_quantised : groups_of_block;

  // The items that write to a part of a block of keys, where there are `parts` of them: the left
  // half of V with what only QK reads, and the right half.
  static FLASHMLA_HOST_DEVICE constexpr int of_part(int part, int parts) {
    if (!Format::quantised)
      return groups_of_block;
    if (parts == 1)
      return count;
    return groups_of_block + ((part == 1) == rotary_is_value ? rotary : 0);
  }
};

// The number of neighbouring blocks among which each of `warps` warps, which take items in turn, has
// an item.
template <class Format>
constexpr int last_blocks_of(int warps) {
  return (warps + Items<Format>::count - 1) / Items<Format>::count;
}

}  // namespace flashmla::sm90::sparse_decode
