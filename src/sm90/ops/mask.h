// Scores of tokens that a row does not see become −inf.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ops {

inline constexpr float minus_infinity = -__builtin_huge_valf();

// Scores of 64 rows × 64 tokens as wgmma leaves them: thread holds rows r and r + 8, and of each
// group of 8 tokens the two from `first_token` on. `seen` counts tokens from the block's first one.
FLASHMLA_DEVICE void mask_scores(float (&scores)[32], std::int32_t first_token,
                                 std::int32_t seen_first, std::int32_t seen_second) {
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const std::int32_t token = 8 * i + first_token + j;
      if (token >= seen_first)
        scores[4 * i + j] = minus_infinity;
      if (token >= seen_second)
        scores[4 * i + 2 + j] = minus_infinity;
    }
}

}  // namespace flashmla::sm90::ops
