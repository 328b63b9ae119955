// What the host prepares for kernels, where a host can check it.
#include "sm90/ops/fast_divisor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "support/random.h"

namespace flashmla::sm90::ops {

namespace {

constexpr std::int32_t largest = std::numeric_limits<std::int32_t>::max();

void expect_exact(std::int32_t value, std::int32_t n) {
  ASSERT_EQ(FastDivisor::of(value).quotient(n), n / value) << n << " / " << value;
}

TEST(FastDivisor, IsExactForSmallNumbers) {
  for (std::int32_t value = 1; value <= 300; ++value)
    for (std::int32_t n = 0; n <= 2000; ++n)
      ASSERT_NO_FATAL_FAILURE(expect_exact(value, n));
}

// Around multiples, where rounding would show first.
TEST(FastDivisor, IsExactForLargeNumbers) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  for (int i = 0; i < 200000; ++i) {
    const auto value = static_cast<std::int32_t>(random.log_between(1, largest));
    const std::int64_t multiple = random.between(0, largest / value) * value;
    for (const std::int64_t n : {multiple - 1, multiple, multiple + value - 1})
      ASSERT_NO_FATAL_FAILURE(
          expect_exact(value, static_cast<std::int32_t>(std::clamp<std::int64_t>(n, 0, largest))));
  }
}

TEST(FastDivisor, TakesTheLargestNumbers) {
  for (const std::int32_t value : {1, 2, 3, 64, 1 << 30, (1 << 30) + 1, largest - 1, largest})
    for (const std::int32_t n : {0, 1, value - 1, value, largest - 1, largest})
      ASSERT_NO_FATAL_FAILURE(expect_exact(value, n));
}

}  // namespace

}  // namespace flashmla::sm90::ops
