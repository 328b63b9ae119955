// How the work on a block of cached rows is divided among the gathering warps.
#pragma once

#include "sm90/kernels/sparse_decode/slot_blocks.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::sparse_decode {

// The items of a block: what one gathering warp takes at a time. They are numbered in the order in
// which the consumers need them. In FP8 caches an item is half of the codes of a group of 8 tokens,
// four chunks (a side); the reader of the index lists copies the rotary parts of a block. In other
// caches an item is the rows of a group of 8 tokens.
template <class Format>
struct Items {
  static constexpr int v_chunks = v_dim / tile::chunk_columns;
  static constexpr int count = Format::quantised ? 2 * groups_of_block : groups_of_block;

  // Where there are two parts of a block of keys, the first one is the left half of V and what only
  // QK reads, and the second one is the right half. This is the part with the rotary parts.
  static FLASHMLA_HOST_DEVICE constexpr int rotary_part(int parts) {
    return parts == 2 && Format::chunks == v_chunks ? 1 : 0;
  }

  // The warps that write to a part of a block of keys, counted once for each item.
  static FLASHMLA_HOST_DEVICE constexpr int writers(int part, int parts) {
    if (!Format::quantised)
      return groups_of_block;
    return count / parts + (part == rotary_part(parts) ? 1 : 0);
  }
};

// The number of neighbouring blocks among which each of `warps` warps, which take items in turn,
// has an item.
template <class Format>
constexpr int last_blocks_of(int warps) {
  return (warps + Items<Format>::count - 1) / Items<Format>::count;
}

}  // namespace flashmla::sm90::sparse_decode
