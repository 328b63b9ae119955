// Operands A of wgmma in registers, from e4m3 codes in shared memory. So the codes take half of the
// memory and of the bytes that dequantised rows would, and nothing is written back.
//
// The order of columns and of rows in a product is free, and codes are taken in the order in which
// lanes can load them:
// - *Rows* (scores): an own row of the operand is a token. A lane has a unit of 16 codes of each of
//   its two tokens, and the four lanes of a quad have the 64 columns of a chunk. They are four
//   operands of 16 columns, and queries lie in this order (place_of_pair()).
// - *Columns* (results): an own row of the operand is a column of V. ldmatrix with .trans takes two
//   neighbouring codes as one element, so that a lane gets columns 2g and 2g + 1 of tokens 2j and
//   2j + 1, for lane 4g + j. They are own rows 0 and 1 of the operand. So accumulators have columns
//   in pairs: own row r of lane 4g + j is column 2g + r of the 16 columns of its warp.
//
// There are two forms of operands: codes as fp16, which holds every e4m3 exactly and takes two or
// three instructions for four codes, and codes · scale as bf16, rounded once.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "sm90/ops/fp8_codec.h"
#include "sm90/ptx/convert.h"
#include "sm90/ptx/load_store.h"
#include "sm90/tile/fragment.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::ops {

// Where two neighbouring columns of a chunk lie in the order of rows. `pair` is column / 2.
struct PairPlace {
  int unit;  // of 16 bytes
  int word;  // of the unit
};
FLASHMLA_TILE_FUNCTION PairPlace place_of_pair(int pair) {
  return {pair % tile::units_per_row, pair / tile::units_per_row};
}

// Two of four codes as fp16: the first ones, or those of the upper half.
FLASHMLA_DEVICE std::uint32_t two_codes(std::uint32_t word, int half) {
  return half == 0 ? ptx::unpack_e4m3(static_cast<std::uint16_t>(word))
                   : ptx::unpack_upper_e4m3(word);
}

// The four operands of a chunk of 64 columns as fp16. Their rows are tokens.
FLASHMLA_DEVICE void operands_of_rows(const uint4 (&codes)[2], std::uint32_t (&operands)[4][4]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const std::uint32_t words[4] = {codes[r].x, codes[r].y, codes[r].z, codes[r].w};
#pragma unroll
    for (int pair = 0; pair < 8; ++pair)
      operands[tile::operand_of(pair)][tile::operand_register(r, pair)] =
          two_codes(words[pair / 2], pair % 2);
  }
}

// Four codes of two columns and two tokens, in the order of columns: those of column 2g in the low
// half.
FLASHMLA_DEVICE std::uint32_t codes_by_columns(std::uint32_t word) {
  return ptx::choose_bytes(word, 0x3120);
}

// The four operands of 64 tokens as fp16. Their rows are columns of V. Word i has tokens 8i …
// 8i + 7.
FLASHMLA_DEVICE void operands_of_columns(const std::uint32_t (&words)[8],
                                         std::uint32_t (&operands)[4][4]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const std::uint32_t codes = codes_by_columns(words[i]);
#pragma unroll
    for (int r = 0; r < 2; ++r)
      operands[tile::operand_of(i)][tile::operand_register(r, i)] = two_codes(codes, r);
  }
}

// The same as bf16(code · scale). scales(i) are those of the thread's two tokens of word i.
template <class Scales>
FLASHMLA_DEVICE void scaled_operands_of_columns(const std::uint32_t (&words)[8], Scales scales,
                                                std::uint32_t (&operands)[4][4]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const std::uint32_t codes = codes_by_columns(words[i]);
    const float2 scale = scales(i);
#pragma unroll
    for (int r = 0; r < 2; ++r)
      operands[tile::operand_of(i)][tile::operand_register(r, i)] =
          dequantise_pair(codes >> 16 * r, scale.x, scale.y);
  }
}

}  // namespace flashmla::sm90::ops
