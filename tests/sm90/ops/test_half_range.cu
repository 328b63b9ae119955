// Whether numbers are good as fp16 ones.
#include "sm90/ops/half_range.h"

#include <limits>

#include "support/numeric.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

using test::Memory;

constexpr int pairs = 16;

struct Judge {
  const std::uint32_t* numbers;  // [case][pairs]
  int* good;                     // [case]

  FLASHMLA_DEVICE void operator()(int i) const {
    HalfRange range;
    for (int j = 0; j < pairs; ++j)
      range.add(numbers[i * pairs + j]);
    good[i] = range.good();
  }
};

// Sixteen equal numbers in the low halves, and in the high ones.
struct Case {
  float low;
  float high;
  int good;
};

class HalfRangeTest : public test::DeviceTest {
 protected:
  static void expect_judged(const std::vector<Case>& cases) {
    std::vector<std::uint32_t> numbers;
    for (const Case& c : cases)
      for (int j = 0; j < pairs; ++j)
        numbers.push_back(support::float_to_fp16(c.low) |
                          static_cast<std::uint32_t>(support::float_to_fp16(c.high)) << 16);
    Memory<std::uint32_t> from(numbers);
    Memory<int> good(cases.size());
    test::run_threads(static_cast<int>(cases.size()), Judge{from.data(), good.data()});
    const std::vector<int> got = good.read();
    for (std::size_t i = 0; i < cases.size(); ++i)
      EXPECT_EQ(got[i], cases[i].good) << cases[i].low << " and " << cases[i].high;
  }
};

TEST_F(HalfRangeTest, EndsWhereTheSumOfMagnitudesEnds) {
  constexpr float least = 0x1p-7f;    // sixteen of them are 2⁻³
  constexpr float largest = 0x1p11f;  // sixteen of them are 2¹⁵
  constexpr float below_least = least * 15 / 16;
  constexpr float below_largest = largest - 16;
  expect_judged({{1, 1, 1},
                 {least, least, 1},
                 {below_least, least, 0},
                 {least, below_least, 0},
                 {below_largest, below_largest, 1},
                 {largest, below_largest, 0},
                 {below_largest, largest, 0}});
}

TEST_F(HalfRangeTest, CountsMagnitudes) {
  expect_judged({{-1, 1, 1}, {1, -1, 1}, {-0x1p11f, 1, 0}, {0, 1, 0}, {1, 0, 0}});
}

TEST_F(HalfRangeTest, TakesNoInfiniteNumberAndNoNan) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  expect_judged({{infinity, 1, 0}, {1, -infinity, 0}, {nan, 1, 0}, {1, nan, 0}});
}

}  // namespace

}  // namespace flashmla::sm90::ops
