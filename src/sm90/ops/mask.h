// Scores of tokens that a row does not see become −inf.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"
#include "sm90/tile/fragment.h"

namespace flashmla::sm90::ops {

inline constexpr float minus_infinity = -__builtin_huge_valf();

// Masks the accumulator of 64 rows × 64 tokens. `first_token` is the first own column of the
// thread. Its two rows see the first `seen_first` and `seen_second` tokens of the block.
FLASHMLA_DEVICE void mask_scores(float (&scores)[32], std::int32_t first_token,
                                 std::int32_t seen_first, std::int32_t seen_second) {
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const std::int32_t token = first_token + tile::columns_before(i);
    if (token >= seen_first)
      scores[tile::accumulator_register(0, i)] = minus_infinity;
    if (token >= seen_second)
      scores[tile::accumulator_register(1, i)] = minus_infinity;
  }
}

}  // namespace flashmla::sm90::ops
