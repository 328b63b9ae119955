// How the rows of FP8 caches lie in the ring of keys: the codes as they are, the rotary parts as a
// swizzled chunk, the scales as they are.
#pragma once

#include <cstdint>

#include "sm90/kernels/sparse_decode/row_formats.h"
#include "sm90/ops/tile_scale.h"
#include "sm90/ptx/load_store.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::sparse_decode::codes {

// The codes of a block of tokens: rows of units of 16 codes.
template <class Format>
struct CodeRows {
  static constexpr int units = Format::code_chunks * tile::chunk_columns / tile::unit_bytes;
  static constexpr int bytes = units * tile::unit_bytes;

  // Units are permuted among their neighbours by the number of the token, so that a unit of eight
  // neighbouring tokens, and four units of two, meet all banks. Rows of an odd number of chunks
  // begin half of the banks apart.
  static FLASHMLA_HOST_DEVICE constexpr int swizzle(int token) {
    return (units % 8 == 0 ? (token & 1) << 2 : 0) | (token >> 1 & 3);
  }
  static FLASHMLA_HOST_DEVICE constexpr std::uint32_t offset(int token, int unit) {
    return token * bytes + (unit ^ swizzle(token)) * tile::unit_bytes;
  }
};

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
    ptx::copy_async_half(target,
                         block.rows[place_of(token)] + block.scales[place_of(token)]);
  }
  static FLASHMLA_DEVICE float load(std::uint32_t scales, int which) {
    return __uint_as_float(ops::e8m0_bits(ptx::load_shared_byte(scales + which)));
  }
};

}  // namespace flashmla::sm90::sparse_decode::codes
