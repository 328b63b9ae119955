// Integer arithmetic of schedules, with the same results on host and device.
#pragma once

#include <cfloat>
#include <cstdint>

#include "schedule/work_tile.h"

namespace flashmla::schedule {

template <class T>
FLASHMLA_HOST_DEVICE constexpr T smaller(T a, T b) {
  return b < a ? b : a;
}

template <class T>
FLASHMLA_HOST_DEVICE constexpr T larger(T a, T b) {
  return a < b ? b : a;
}

// a / b for a ≥ 0 and b > 0. A GPU divides 32-bit numbers several times faster.
//
// NOTE: out of line on a device. A kernel that runs once finds the instruction cache cold, which
// costs more than the instructions; a 64-bit division is a hundred of them.
FLASHMLA_HOST_DEVICE FLASHMLA_OUT_OF_LINE constexpr std::int64_t divide(std::int64_t a,
                                                                        std::int64_t b) {
  if (((a | b) >> 32) == 0)
    return static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);
  return a / b;
}

FLASHMLA_HOST_DEVICE constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return divide(a + b - 1, b);
}

// Division by a number that several quotients share: by its reciprocal as a float, then put right
// in integers, so that quotients are exact on every machine.
class Divisor {
 public:
  FLASHMLA_HOST_DEVICE constexpr explicit Divisor(std::int64_t value)  // > 0
      : value_(value),
#if defined(__CUDA_ARCH__)
        reciprocal_(__fdividef(1.0f, static_cast<float>(value)))
#else
        reciprocal_(1.0f / static_cast<float>(value))
#endif
  {
  }

  FLASHMLA_HOST_DEVICE constexpr std::int64_t value() const { return value_; }

  // a / value() for a ≥ 0.
  FLASHMLA_HOST_DEVICE constexpr std::int64_t quotient(std::int64_t a) const {
    std::int64_t q = estimate(a);
    std::int64_t rest = a - q * value_;
    while (rest < 0 || rest >= value_) {
      const std::int64_t step = estimate(rest) - (rest < 0 ? 1 : 0);
      q += step == 0 ? 1 : step;
      rest = a - q * value_;
    }
    return q;
  }

  FLASHMLA_HOST_DEVICE constexpr std::int64_t quotient_up(std::int64_t a) const {
    return quotient(a + value_ - 1);
  }

 private:
  FLASHMLA_HOST_DEVICE constexpr std::int64_t estimate(std::int64_t a) const {
    return static_cast<std::int64_t>(static_cast<float>(a) * reciprocal_);
  }

  std::int64_t value_;
  float reciprocal_;
};

// Largest integer whose square is at most `value`, digit by digit in base 2.
FLASHMLA_HOST_DEVICE constexpr std::int64_t integer_sqrt(std::int64_t value) {
  std::int64_t digit = 1;  // a power of four
  while (digit <= value / 4)
    digit *= 4;
  std::int64_t root = 0;
  for (; digit > 0; digit /= 4) {
    const bool fits = value >= root + digit;
    value -= fits ? root + digit : 0;
    root = root / 2 + (fits ? digit : 0);
  }
  return root;
}

// Largest integer whose square is at most a / b, for a ≥ 0 and b > 0. A GPU has a square root of
// its own, which is right to 24 bits.
FLASHMLA_HOST_DEVICE constexpr std::int64_t sqrt_of_quotient(std::int64_t a, std::int64_t b) {
#if defined(__CUDA_ARCH__)
  const float quotient = __fdividef(static_cast<float>(a), static_cast<float>(b));
  auto root = static_cast<std::int64_t>(quotient * __frsqrt_rn(fmaxf(quotient, FLT_MIN)));
  while (root * root * b > a)
    --root;
  while ((root + 1) * (root + 1) * b <= a)
    ++root;
  return root;
#else
  return integer_sqrt(a / b);
#endif
}

}  // namespace flashmla::schedule
