// Blocks of scores as the lanes of a warp hold them, for tests of the softmax.
#pragma once

#include "sm90/ops/online_softmax.h"
#include "tests/sm90/fragments.h"

namespace flashmla::sm90::ops {

inline constexpr int lanes = 32;
inline constexpr int rows = 16;  // of a warp
inline constexpr int tokens = 64;
inline constexpr int registers = 32;
inline constexpr float scale = 0.5f;

// The lane's scores of a block [rows][tokens].
FLASHMLA_DEVICE void load_scores(const float* block, int lane, float (&scores)[registers]) {
  for (int i = 0; i < registers; ++i)
    scores[i] = block[test::row_of_d(lane, i) * tokens + test::column_of_d(lane, i)];
}

// Two rows with the same maximum, and sums that tell them apart.
FLASHMLA_DEVICE RowState state_of(float max) {
  return {.max = {max, max}, .sum = {1, 3}, .rounded = {2, 4}};
}

}  // namespace flashmla::sm90::ops
