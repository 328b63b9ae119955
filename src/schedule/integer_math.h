// The integer arithmetic of schedules. Results are the same on host and device.
#pragma once

#include <cstdint>
#include <type_traits>

#include "schedule/work_row.h"

namespace flashmla::schedule {

template <class T>
FLASHMLA_HOST_DEVICE constexpr T smaller(T a, T b) {
  return b < a ? b : a;
}

template <class T>
FLASHMLA_HOST_DEVICE constexpr T larger(T a, T b) {
  return a < b ? b : a;
}

// a / b for a ≥ 0 and b > 0. Numbers that fit 32 bits are divided as such, since a GPU is several
// times faster with them.
//
// NOTE: the function is out of line on a device. A 64-bit division has a hundred instructions. A
// kernel that runs once loads them into a cold instruction cache, which costs more than to execute
// them.
FLASHMLA_HOST_DEVICE FLASHMLA_OUT_OF_LINE constexpr std::int64_t divide(std::int64_t a,
                                                                        std::int64_t b) {
  if (((a | b) >> 32) == 0)
    return static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);
  return a / b;
}

template <class A, class B>
FLASHMLA_HOST_DEVICE constexpr auto divide_up(A a, B b) {
  using Int = std::common_type_t<A, B>;
  if constexpr (sizeof(Int) == sizeof(std::int32_t)) {
    const auto divisor = static_cast<std::uint32_t>(b);
    return static_cast<std::int32_t>((static_cast<std::uint32_t>(a) + divisor - 1) / divisor);
  } else {
    return divide(a + b - 1, b);
  }
}

FLASHMLA_HOST_DEVICE constexpr float reciprocal_of(float value) {
#if defined(__CUDA_ARCH__)
  float reciprocal;  // wrong in the last bit at most
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(value));
  return reciprocal;
#else
  return 1.0f / value;
#endif
}

// Division by a number that several quotients share. The quotient is estimated with the reciprocal
// as a float. Then it is corrected in integers, so that it is exact on every machine. With `Int` of
// 32 bits a quotient has to be below 2²¹: then the estimate is wrong by at most one.
template <class Int>
class Divisor {
 public:
  FLASHMLA_HOST_DEVICE constexpr explicit Divisor(Int value)  // > 0
      : value_(value), reciprocal_(reciprocal_of(static_cast<float>(value))) {}

  FLASHMLA_HOST_DEVICE constexpr Int value() const { return value_; }

  // a / value() for a ≥ 0, rounded down.
  FLASHMLA_HOST_DEVICE constexpr Int quotient(Int a) const {
    return quotient_of(static_cast<Unsigned>(a));
  }

  // a / value() for a ≥ 0, rounded up.
  FLASHMLA_HOST_DEVICE constexpr Int quotient_up(Int a) const {
    return quotient_of(static_cast<Unsigned>(a) + static_cast<Unsigned>(value_) - 1);
  }

 private:
  using Unsigned = std::make_unsigned_t<Int>;

  FLASHMLA_HOST_DEVICE constexpr Int quotient_of(Unsigned a) const {
    Int q = estimate(a);
    Int rest = rest_of(a, q);
    if constexpr (sizeof(Int) == sizeof(std::int32_t)) {
      q += rest >= value_ ? 1 : 0;
      q -= rest < 0 ? 1 : 0;
    } else {
      while (rest < 0 || rest >= value_) {
        const Int correction = estimate(rest) - (rest < 0 ? 1 : 0);
        q += correction == 0 ? 1 : correction;
        rest = rest_of(a, q);
      }
    }
    return q;
  }

  template <class Number>
  FLASHMLA_HOST_DEVICE constexpr Int estimate(Number a) const {
    return static_cast<Int>(static_cast<float>(a) * reciprocal_);
  }

  FLASHMLA_HOST_DEVICE constexpr Int rest_of(Unsigned a, Int q) const {
    return static_cast<Int>(a - static_cast<Unsigned>(q) * static_cast<Unsigned>(value_));
  }

  Int value_;
  float reciprocal_;
};

// The largest integer whose square is at most `value`, found digit by digit in base 2.
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

// The largest integer whose square is at most a / b, for a ≥ 0 and b > 0. On a GPU the square root
// instruction, which is right to 22 bits, gives an estimate. With `Int` of 32 bits,
// a + 2 √(a b) + b has to fit.
template <class Int>
FLASHMLA_HOST_DEVICE constexpr Int sqrt_of_quotient(Int a, Int b) {
#if defined(__CUDA_ARCH__)
  float estimate;
  asm("sqrt.approx.ftz.f32 %0, %1;"
      : "=f"(estimate)
      : "f"(static_cast<float>(a) * reciprocal_of(static_cast<float>(b))));
  auto root = static_cast<Int>(estimate);
  if constexpr (sizeof(Int) == sizeof(std::int32_t)) {
    root -= root * root * b > a ? 1 : 0;
    root += (root + 1) * (root + 1) * b <= a ? 1 : 0;
  } else {
    while (root * root * b > a)
      --root;
    while ((root + 1) * (root + 1) * b <= a)
      ++root;
  }
  return root;
#else
  return static_cast<Int>(integer_sqrt(a / b));
#endif
}

}  // namespace flashmla::schedule
