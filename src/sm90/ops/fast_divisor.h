// Division by a number that the host knows, computed as a multiplication. An integer division is
// about twenty instructions, and code that runs once in a launch finds the instruction cache cold.
#pragma once

#include <bit>
#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ops {

// n / d for 0 ≤ n < 2³¹ and 0 < d < 2³¹. With 2^(k−1) < d ≤ 2^k and m = ⌈2^(31+k) / d⌉, which has
// 32 bits, m · d exceeds 2^(31+k) by less than d ≤ 2^k, so that ⌊n · m / 2^(31+k)⌋ is exact.
struct FastDivisor {
  std::uint32_t multiplier;
  std::uint32_t shift;

  static constexpr FastDivisor of(std::int32_t value) {
    const auto d = static_cast<std::uint64_t>(value);
    const auto shift = static_cast<std::uint32_t>(31 + std::bit_width(d - 1));
    return {static_cast<std::uint32_t>(((std::uint64_t{1} << shift) + d - 1) / d), shift};
  }

  FLASHMLA_DEVICE std::int32_t quotient(std::int32_t n) const {
    return static_cast<std::int32_t>(
        static_cast<std::uint64_t>(static_cast<std::uint32_t>(n)) * multiplier >> shift);
  }
};

}  // namespace flashmla::sm90::ops
