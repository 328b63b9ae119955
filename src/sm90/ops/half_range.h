// Whether fp32 values, packed as pairs of fp16 numbers, are good as such.
#pragma once

#include <cstdint>

#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::ops {

// Bounds of Σ |number| of what a thread holds of a row, some 16 to 64 numbers. Above, one of them
// may have overflowed; below, too many of them lose bits, or are 0 that should not be.
inline constexpr float largest_good = 0x1p15f;
inline constexpr float min_good = 0x1p-3f;

// Of two rows, or of two parts of a row: what is packed in the low and in the high halves.
struct HalfRange {
  std::uint32_t magnitudes = 0;

  // NOTE: a sum, in fp16: instructions that find maxima take several times as long.
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
