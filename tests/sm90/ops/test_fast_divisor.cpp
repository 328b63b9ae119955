// Quotients by a multiplication, beside real ones.
#include "sm90/ops/fast_divisor.h"

#include <algorithm>
#include <limits>

#include "support/random.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

constexpr std::int32_t largest = std::numeric_limits<std::int32_t>::max();

struct Division {
  FastDivisor by;
  std::int32_t n;
  std::int32_t value;  // that `by` stands for
};

struct Quotients {
  const Division* divisions;
  std::int32_t* quotients;

  FLASHMLA_DEVICE void operator()(int i) const {
    quotients[i] = divisions[i].by.quotient(divisions[i].n);
  }
};

class FastDivisorTest : public test::DeviceTest {
 protected:
  void add(std::int32_t value, std::int32_t n) {
    divisions_.push_back({FastDivisor::of(value), n, value});
  }

  void expect_exact() const {
    test::Memory<Division> divisions(divisions_);
    test::Memory<std::int32_t> quotients(divisions_.size());
    test::run_threads(static_cast<int>(divisions_.size()),
                      Quotients{divisions.data(), quotients.data()});
    const std::vector<std::int32_t> got = quotients.read();
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(got[i], divisions_[i].n / divisions_[i].value)
          << divisions_[i].n << " / " << divisions_[i].value;
  }

 private:
  std::vector<Division> divisions_;
};

TEST_F(FastDivisorTest, IsExactForSmallNumbers) {
  for (std::int32_t value = 1; value <= 300; ++value)
    for (std::int32_t n = 0; n <= 2000; ++n)
      add(value, n);
  expect_exact();
}

// Around multiples, where rounding would show first.
TEST_F(FastDivisorTest, IsExactForLargeNumbers) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  for (int i = 0; i < 200000; ++i) {
    const auto value = static_cast<std::int32_t>(random.log_between(1, largest));
    const std::int64_t multiple = random.between(0, largest / value) * value;
    for (const std::int64_t n : {multiple - 1, multiple, multiple + value - 1})
      add(value, static_cast<std::int32_t>(std::clamp<std::int64_t>(n, 0, largest)));
  }
  expect_exact();
}

TEST_F(FastDivisorTest, TakesTheLargestNumbers) {
  for (const std::int32_t value : {1, 2, 3, 64, 1 << 30, (1 << 30) + 1, largest - 1, largest})
    for (const std::int32_t n : {0, 1, value - 1, value, largest - 1, largest})
      add(value, n);
  expect_exact();
}

}  // namespace

}  // namespace flashmla::sm90::ops
