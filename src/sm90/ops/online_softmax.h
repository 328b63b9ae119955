// Online softmax over tiles of 64 rows × 64 tokens, base 2. A thread holds its elements of the
// accumulator of scores, of two rows (tile/fragment.h).
//
// The reference maximum of a row rises only where the maximum of a block exceeds it by more than 8.
// So P stays at most 2⁸, and the accumulators need no rescaling for most blocks. The result is the
// same, because out and the sum refer to the same maximum.
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
  float max[2];      // reference maximum of the scaled scores
  float sum[2];      // Σ P = Σ 2^(score − max) of the thread's own columns
  float rounded[2];  // Σ of the P that the tensor cores get, which are rounded to 16 bits

  FLASHMLA_DEVICE void reset() {
    max[0] = max[1] = lowest_max;
    sum[0] = sum[1] = 0;
    rounded[0] = rounded[1] = 0;
  }

  // Takes `raised` as the reference maximum of row r, 0 or 1. Returns the factor for out, which is
  // 1 before the first token, when there is nothing to rescale.
  FLASHMLA_DEVICE float adopt(int r, float raised) {
    const float factor = max[r] == lowest_max ? 1.0f : ptx::exp2(max[r] - raised);
    max[r] = raised;
    sum[r] *= factor;
    rounded[r] *= factor;
    return factor;
  }
};

// The result of a row after its last token.
struct FinishedRow {
  float factor;  // for the accumulators; 0 where there was no token
  float lse;     // base 2, without the sink; −inf where there was no token

  // `max` and `sum` are those of RowState. `divisor` is the sum of the rounded weights, which `out`
  // was computed with. Weights that are nearly equal are all rounded in the same direction, and
  // another divisor would carry this error into `out`. `sink` is a natural logarithm; −inf: none.
  FLASHMLA_DEVICE FinishedRow(float max, float sum, float divisor, float sink)
      : lse(max + ptx::log2(sum)) {
    constexpr float log2_e = 1.4426950408889634f;
    const float kept = ptx::reciprocal(1 + ptx::exp2(sink * log2_e - lse));
    factor = sum == 0 ? 0 : ptx::reciprocal(divisor) * kept;
  }

  // The lse in the caller's form: `scale` · lse, or `empty` where there was no token.
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

// One instruction finds the maximum of integers. The bits of floats have the order of integers
// after the bits of negative numbers are inverted.
FLASHMLA_DEVICE float max_in_warp(float value) {
  const auto turned = [](std::int32_t bits) { return bits < 0 ? bits ^ 0x7fffffff : bits; };
  return __int_as_float(turned(__reduce_max_sync(0xffffffffu, turned(__float_as_int(value)))));
}

FLASHMLA_DEVICE bool any_in_warp(bool here) {
  return __any_sync(0xffffffffu, here) != 0;
}

// Raises the reference maxima where the scores of a block (before scaling) exceed them by more than
// lazy_rise. For most blocks a vote of the warp finds that no maximum rises, without an exchange.
// Returns whether rows of the warp have to be rescaled. Only then `factor` is set.
FLASHMLA_DEVICE bool raise_max(const float (&scores)[32], float scale, RowState& state,
                               float (&factor)[2]) {
  float own_max[2];  // maximum over the thread's own columns
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

// Takes over the maxima of the two rows, which another warp may have raised. The result is that of
// raise_max().
FLASHMLA_DEVICE bool adopt_max(float first, float second, RowState& state, float (&factor)[2]) {
  if (!any_in_warp(first != state.max[0] || second != state.max[1]))
    return false;
  factor[0] = state.adopt(0, first);
  factor[1] = state.adopt(1, second);
  return any_in_warp(factor[0] != 1.0f || factor[1] != 1.0f);
}

// Computes P = 2^(scale · score − max), and adds P up before it is rounded. `weights` is the
// rounded P as operand A of wgmma: [16 tokens][4 registers].
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

// Adds up the rounded P. Nothing waits for the sum, so the call belongs where the warp waits for
// others anyway, and volatile instructions keep it there. (A warp that issues a product nearly
// waits for it, so that there is little time behind a product.)
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
