// Scores of tokens that a row does not see become −inf.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"
#include "sm90/tile/fragment.h"

namespace flashmla::sm90::ops {

inline constexpr float minus_infinity = -__builtin_huge_valf();

// The accumulator of 64 rows × 64 tokens. `first_token`: the thread's first own column. Its two
// rows see `seen_first` and `seen_second` tokens from the block's first one on.
FLASHMLA_DEVICE void mask_scores(float (&scores)[32], std::int32_t first_token,
                                 std::int32_t seen_first, std::int32_t seen_second) {
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const std::int32_t token = 8 * i + first_token + j;
      if (token >= seen_first)
        scores[tile::accumulator_register(0, 2 * i + j)] = minus_infinity;
      if (token >= seen_second)
        scores[tile::accumulator_register(1, 2 * i + j)] = minus_infinity;
    }
}

}  // namespace flashmla::sm90::ops
