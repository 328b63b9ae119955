// Which thread holds which element of a matrix, as NVIDIA's PTX manual draws it (wgmma .m64nNk16
// and mma .m16n8k16). It is written here once more, apart from the library, as the tests' own
// measure.
#pragma once

#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::test {

// D, 64 × N in fp32: register i of a thread of the warpgroup. With one warp: 16 × 8.
FLASHMLA_TILE_FUNCTION int row_of_d(int thread, int i) {
  return thread / 32 * 16 + i % 4 / 2 * 8 + thread % 32 / 4;
}
FLASHMLA_TILE_FUNCTION int column_of_d(int thread, int i) {
  return i / 4 * 8 + thread % 4 * 2 + i % 2;
}

// A, 64 × 16 in 16 bits: half `half` (0 is the low one) of register i of four.
FLASHMLA_TILE_FUNCTION int row_of_a(int thread, int i) {
  return thread / 32 * 16 + i % 2 * 8 + thread % 32 / 4;
}
FLASHMLA_TILE_FUNCTION int column_of_a(int thread, int i, int half) {
  return i / 2 * 8 + thread % 4 * 2 + half;
}

// An 8 × 8 matrix of 16-bit numbers, as ldmatrix gives it: half `half` of a lane's register.
FLASHMLA_TILE_FUNCTION int row_of_matrix(int lane) {
  return lane / 4;
}
FLASHMLA_TILE_FUNCTION int column_of_matrix(int lane, int half) {
  return lane % 4 * 2 + half;
}

}  // namespace flashmla::sm90::test
