// How the rows of FP8 caches lie in the ring of keys: the codes as they are, the rotary parts as a
// swizzled chunk, the scales as they are.
#pragma once

#include <cstdint>

#include "sm90/kernels/sparse_decode/row_formats.h"
#include "sm90/ptx/load_store.h"
#include "sm90/tile/code_rows.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::sparse_decode::codes {

template <class Format>
using CodeRows = tile::CodeRows<Format::code_chunks * tile::chunk_columns / tile::unit_bytes>;

template <class Format>
struct RowScales;

template <>
struct RowScales<V32Rows> {
  static constexpr int count = 4;
  static constexpr int bytes = 16;  // of a token
  static FLASHMLA_HOST_DEVICE constexpr int of_chunk(int chunk) { return chunk / 2; }

  static FLASHMLA_DEVICE void copy(std::uint32_t target, const SlotBlock<V32Rows>& block,
                                   int token) {
    ptx::copy_async(target, block.rows[place_of(token)] + V32Layout::scales_offset, true);
  }
  static FLASHMLA_DEVICE float load(std::uint32_t scales, int which) {
    return ptx::load_shared(scales + which * sizeof(float));
  }
};

template <>
struct RowScales<V4Rows> {
  static constexpr int count = 7;
  static constexpr int bytes = 8;  // of a token; the last byte is not used
  static FLASHMLA_HOST_DEVICE constexpr int of_chunk(int chunk) { return chunk; }

  static FLASHMLA_DEVICE void copy(std::uint32_t target, const SlotBlock<V4Rows>& block,
                                   int token) {
    ptx::copy_async_half(target, block.rows[place_of(token)] + block.scales[place_of(token)]);
  }
  static FLASHMLA_DEVICE float load(std::uint32_t scales, int which) {
    return V4Rows::scale(ptx::load_shared_byte(scales + which));
  }
};

}  // namespace flashmla::sm90::sparse_decode::codes
