// Online softmax over tiles of 64 rows × 64 tokens, base 2. A thread holds its elements of the
// accumulator of scores, of two rows (tile/fragment.h).
//
// The reference maximum of a row rises only when a block's maximum exceeds it by more than 8: P
// then stays below 2⁸, the accumulators need no rescale for most blocks, and the result is the
// same, for out and the sum refer to the same maximum.
#pragma once

#include <cstdint>

#include "sm90/ops/mask.h"
#include "sm90/ptx/load_store.h"
#include "sm90/ptx/wgmma.h"
#include "sm90/tile/fragment.h"

namespace flashmla::sm90::ops {

inline constexpr float lowest_max = -1e30f;  // before any token
inline constexpr float lazy_rise = 8.0f;

struct RowState {
  float max[2];      // reference maximum, scaled
  float sum[2];      // Σ P = Σ 2^(score − max) of the thread's own columns
  float rounded[2];  // the same of P as the tensor cores get it, rounded to 16 bits

  FLASHMLA_DEVICE void reset() {
    max[0] = max[1] = lowest_max;
    sum[0] = sum[1] = 0;
    rounded[0] = rounded[1] = 0;
  }

  // Takes over the maximum of row r, 0 or 1, that has been raised; returns the factor for out,
  // which is 1 before any token, when there is nothing to rescale.
  FLASHMLA_DEVICE float adopt(int r, float raised) {
    const float factor = max[r] == lowest_max ? 1.0f : ptx::exp2(max[r] - raised);
    max[r] = raised;
    sum[r] *= factor;
    rounded[r] *= factor;
    return factor;
  }
};

// A row of which all tokens have been seen.
struct FinishedRow {
  float factor;  // of its accumulators; 0 where there was no token
  float lse;     // base 2, without the sink; −inf where there was no token

  // `max`, `sum`: of RowState. `divisor`: the sum of the weights that `out` was made with, which
  // are rounded: where weights are nearly equal they are all rounded the same way, and any other
  // divisor would carry that into `out`. `sink`: base e; −inf is none.
  FLASHMLA_DEVICE FinishedRow(float max, float sum, float divisor, float sink)
      : lse(max + ptx::log2(sum)) {
    constexpr float log2_e = 1.4426950408889634f;
    const float kept = ptx::reciprocal(1 + ptx::exp2(sink * log2_e - lse));
    factor = sum == 0 ? 0 : ptx::reciprocal(divisor) * kept;
  }

  // As callers get it: `scale` · lse, or `empty` where there was no token.
  FLASHMLA_DEVICE float lse_as(float scale, float empty) const {
    return lse == minus_infinity ? empty : lse * scale;
  }
};

FLASHMLA_DEVICE float max_in_quad(float value) {
  value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

FLASHMLA_DEVICE float sum_in_quad(float value) {
  value += __shfl_xor_sync(0xffffffffu, value, 1);
  return value + __shfl_xor_sync(0xffffffffu, value, 2);
}

// In one instruction: as integers, floats have their order when those below zero are turned round.
FLASHMLA_DEVICE float max_in_warp(float value) {
  const auto turned = [](std::int32_t bits) { return bits < 0 ? bits ^ 0x7fffffff : bits; };
  return __int_as_float(turned(__reduce_max_sync(0xffffffffu, turned(__float_as_int(value)))));
}

FLASHMLA_DEVICE bool any_in_warp(bool here) {
  return __any_sync(0xffffffffu, here) != 0;
}

// Raises the maxima by a block's scores (before scaling) where they have to rise. Most blocks need
// no exchange to find that none does. Whether rows of the warp have to be rescaled, by `factor`,
// which is set only then.
FLASHMLA_DEVICE bool raise_max(const float (&scores)[32], float scale, RowState& state,
                               float (&factor)[2]) {
  float own_max[2];  // of the thread's own columns
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const auto score = [&](int i) { return scores[tile::accumulator_register(r, i)]; };
    float first = fmaxf(score(0), score(1));
    float second = fmaxf(score(2), score(3));
#pragma unroll
    for (int i = 4; i < 16; i += 4) {
      first = fmaxf(first, fmaxf(score(i), score(i + 1)));
      second = fmaxf(second, fmaxf(score(i + 2), score(i + 3)));
    }
    own_max[r] = fmaxf(first, second) * scale;
  }
  if (!any_in_warp(own_max[0] > state.max[0] + lazy_rise || own_max[1] > state.max[1] + lazy_rise))
    return false;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float block_max = max_in_quad(own_max[r]);
    factor[r] = state.adopt(r, block_max > state.max[r] + lazy_rise ? block_max : state.max[r]);
  }
  return any_in_warp(factor[0] != 1.0f || factor[1] != 1.0f);
}

// Takes over the maxima of the two rows, which another warp may have raised; the result is as that
// of raise_max().
FLASHMLA_DEVICE bool adopt_max(float first, float second, RowState& state, float (&factor)[2]) {
  if (!any_in_warp(first != state.max[0] || second != state.max[1]))
    return false;
  factor[0] = state.adopt(0, first);
  factor[1] = state.adopt(1, second);
  return any_in_warp(factor[0] != 1.0f || factor[1] != 1.0f);
}

// P = 2^(scale · score − max), summed before it is rounded; `weights` is P as wgmma takes it for A:
// [16 tokens][4 registers].
template <class T>
FLASHMLA_DEVICE void exponentiate(float (&scores)[32], float scale, RowState& state,
                                  std::uint32_t (&weights)[4][4]) {
  float sums[2][2] = {};  // [own row][even and odd columns]
#pragma unroll
  for (int pair = 0; pair < 8; ++pair) {
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        float& p = scores[tile::accumulator_register(r, 2 * pair + j)];
        p = ptx::exp2(fmaf(p, scale, -state.max[r]));
        sums[r][j] += p;
      }
#pragma unroll
    for (int r = 0; r < 2; ++r)
      weights[tile::operand_of(pair)][tile::operand_register(r, pair)] =
          ptx::pack<T>(scores[tile::accumulator_register(r, 2 * pair)],
                       scores[tile::accumulator_register(r, 2 * pair + 1)]);
  }
  state.sum[0] += sums[0][0] + sums[0][1];
  state.sum[1] += sums[1][0] + sums[1][1];
}

// Adds up P as it was rounded. Nothing waits for it: it belongs where the warp waits for others,
// and volatile instructions keep it there. (Issuing a product is nearly blocking: behind it there
// is little time.)
template <class T>
FLASHMLA_DEVICE void sum_rounded(const std::uint32_t (&weights)[4][4], RowState& state) {
  float2 sums[2] = {};  // [own row], even and odd columns
#pragma unroll
  for (int pair = 0; pair < 8; ++pair)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float2 p =
          ptx::unpack_in_order<T>(weights[tile::operand_of(pair)][tile::operand_register(r, pair)]);
      sums[r].x += p.x;
      sums[r].y += p.y;
    }
  state.rounded[0] += sums[0].x + sums[0].y;
  state.rounded[1] += sums[1].x + sums[1].y;
  ptx::pin(state.rounded);
}

}  // namespace flashmla::sm90::ops
