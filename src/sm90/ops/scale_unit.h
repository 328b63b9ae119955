// The unit of accumulators of V where P is multiplied by the scales of the codes: a power of two
// above all scales. P · scale / unit is at most 1, so that it fits fp16. Plain integer arithmetic.
#pragma once

#include <cstdint>

#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::ops {

// The bits of the largest and of the smallest magnitude of scales other than 0; 0 where there is
// none.
struct ScaleRange {
  std::uint32_t largest = 0;
  std::uint32_t smallest = 0;
};

// NOTE: a weight below 2^−14 has an error of at most 2^−25, in fp16. Where a scale is so small that
// this would be much of a weight of 1, or is not finite, a block of tokens does not fit.
class ScaleUnit {
 public:
  // Before the first block of a segment.
  FLASHMLA_TILE_FUNCTION void reset() { exponent_ = 0; }

  // Takes in the scales of a block, as `Parts` warps see them. Returns whether the accumulators
  // have to be multiplied by factor().
  template <int Parts>
  FLASHMLA_TILE_FUNCTION bool take_in(const ScaleRange (&ranges)[Parts]) {
    std::uint32_t largest = 0;
    std::uint32_t before_smallest = none;
    for (const ScaleRange& range : ranges) {
      largest = range.largest > largest ? range.largest : largest;
      const std::uint32_t before = range.smallest - 1;  // 0 becomes the largest number
      before_smallest = before < before_smallest ? before : before_smallest;
    }
    const std::uint32_t smallest = before_smallest + 1;
    const std::uint32_t above = (largest >> 23) + 1;
    const std::uint32_t wanted = above < least ? least : above > most ? most : above;
    const bool rises = exponent_ != 0 && wanted > exponent_;
    if (rises) {
      const std::uint32_t steps = wanted - exponent_;
      factor_ = __builtin_bit_cast(float, steps < bias ? (bias - steps) << 23 : 0);
    }
    exponent_ = wanted > exponent_ ? wanted : exponent_;
    fits_ = largest == 0 ||
            (largest < infinity && exponent_ < most && (smallest >> 23) + window >= exponent_);
    return rises;
  }

  FLASHMLA_TILE_FUNCTION float factor() const { return factor_; }
  FLASHMLA_TILE_FUNCTION bool fits() const { return fits_; }
  // 1 / unit.
  FLASHMLA_TILE_FUNCTION float down() const {
    return __builtin_bit_cast(float, (2 * bias - exponent_) << 23);
  }

 private:
  static constexpr std::uint32_t none = 0xffffffffu;
  static constexpr std::uint32_t bias = 127;
  static constexpr std::uint32_t infinity = 0x7f800000u;
  static constexpr std::uint32_t window = 10;
  // Exponents of the unit, as fp32 has them.
  static constexpr std::uint32_t least = bias - 100;
  static constexpr std::uint32_t most = bias + 100;

  std::uint32_t exponent_ = 0;
  float factor_ = 1;
  bool fits_ = true;
};

}  // namespace flashmla::sm90::ops
