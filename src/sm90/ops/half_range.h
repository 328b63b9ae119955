// Whether fp32 values that were packed as fp16 have kept their accuracy.
#pragma once

#include <cstdint>

#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::ops {

// Bounds of Σ |element| over the elements of a row that a thread holds, 16 to 64 elements. Above
// the upper bound one of them may have overflowed. Below the lower bound too many of them lose bits
// or become 0.
inline constexpr float largest_good = 0x1p15f;
inline constexpr float min_good = 0x1p-3f;

// The sums of two rows, or of two parts of a row: that of the elements in the low halves of words,
// and that of the elements in the high halves.
struct HalfRange {
  std::uint32_t magnitudes = 0;

  // NOTE: the sum of magnitudes, in fp16. Instructions that find maxima take several times as long.
  FLASHMLA_DEVICE void add(std::uint32_t pair) {
    magnitudes = ptx::add_magnitudes_half2(magnitudes, pair);
  }

  FLASHMLA_DEVICE bool good() const {
    const float2 sums = ptx::unpack<__half>(magnitudes);
    return good(sums.x) && good(sums.y);
  }

 private:
  static FLASHMLA_DEVICE bool good(float sum) { return sum >= min_good && sum < largest_good; }
};

}  // namespace flashmla::sm90::ops
