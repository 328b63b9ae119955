// The unit of the accumulators of V: a power of two above all scales, by which P · scale is divided
// so that it fits fp16.
#pragma once

#include <cstdint>

#include "sm90/kernels/sparse_decode/codes/shared_storage.h"

namespace flashmla::sm90::sparse_decode::codes {

// P is at most 1 and so is scale / unit. A weight below 2^−14 has an error of at most 2^−25, of the
// unit. Where a scale is so small that this would be much of a weight of 1, or is not finite, a
// block does not fit.
class ScaleUnit {
 public:
  // Before the first block of a segment.
  FLASHMLA_DEVICE void reset() { exponent_ = 0; }

  // Takes in the scales of a block, as the warps see them. Returns whether the accumulators
  // have to be multiplied by factor().
  template <int Warps>
  FLASHMLA_DEVICE bool raise(const ScaleRange (&ranges)[Warps]) {
    std::uint32_t largest = 0;
    std::uint32_t smallest = 0xffffffffu;
#pragma unroll
    for (const ScaleRange& range : ranges) {
      largest = max(largest, range.largest);
      smallest = min(smallest, range.smallest - 1);
    }
    smallest += 1;
    const std::uint32_t wanted = min(max((largest >> 23) + 1, least), most);
    const bool rises = exponent_ != 0 && wanted > exponent_;
    if (rises)
      factor_ = __uint_as_float((bias + exponent_ - wanted < bias ? bias + exponent_ - wanted : 0)
                                << 23);
    exponent_ = max(exponent_, wanted);
    fits_ = largest == 0 ||
            (largest < infinity && (smallest >> 23) + window >= exponent_ && exponent_ < most);
    return rises;
  }

  FLASHMLA_DEVICE float factor() const { return factor_; }
  FLASHMLA_DEVICE bool fits() const { return fits_; }
  // 1 / unit.
  FLASHMLA_DEVICE float down() const { return __uint_as_float((2 * bias - exponent_) << 23); }

 private:
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

}  // namespace flashmla::sm90::sparse_decode::codes
