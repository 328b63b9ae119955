#include "support/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace flashmla::support {
namespace {

TEST(Random, NumbersDependOnKeyAndPositionAlone) {
  const std::uint64_t key = fresh_seed();
  SCOPED_TRACE(key);
  std::vector<float> longer((std::size_t{1} << 20) + 1000);
  fill_normal(longer, key);
  for (const std::size_t size : {std::size_t{1}, std::size_t{576}, (std::size_t{1} << 20) + 7}) {
    std::vector<float> shorter(size);
    fill_normal(shorter, key);
    ASSERT_TRUE(std::equal(shorter.begin(), shorter.end(), longer.begin())) << size;
  }
  std::vector<float> other(1000);
  fill_normal(other, key + 1);
  std::size_t same = 0;
  for (std::size_t i = 0; i < other.size(); ++i)
    same += other[i] == longer[i] ? 1 : 0;
  EXPECT_LT(same, 10u);
}

// Limits at six standard deviations of each estimate.
TEST(Random, NormalHasUnitVarianceAndABellShape) {
  const std::uint64_t key = fresh_seed();
  SCOPED_TRACE(key);
  std::vector<float> values(1 << 20);
  fill_normal(values, key);
  const auto count = static_cast<double>(values.size());
  double sum = 0;
  double squares = 0;
  double neighbours = 0;
  double within_one = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_LT(std::abs(values[i]), 3.47f);
    sum += values[i];
    squares += values[i] * values[i];
    neighbours += i > 0 ? values[i] * values[i - 1] : 0;
    within_one += std::abs(values[i]) < 1 ? 1 : 0;
  }
  const double tolerance = 6 / std::sqrt(count);
  EXPECT_NEAR(sum / count, 0, tolerance);
  EXPECT_NEAR(squares / count, 1, 1.3 * tolerance);
  EXPECT_NEAR(neighbours / count, 0, tolerance);
  EXPECT_NEAR(within_one / count, 0.67, 0.02);  // 0.683 for a normal distribution
}

TEST(Random, RowsOfNeighbouringKeysAreUncorrelated) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  constexpr std::size_t size = 4096;
  std::vector<float> a(size);
  std::vector<float> b(size);
  for (int i = 0; i < 50; ++i) {
    fill_normal(a, key_of(seed, i, 0));
    fill_normal(b, key_of(seed, i, 1));
    double product = 0;
    for (std::size_t j = 0; j < size; ++j)
      product += a[j] * b[j];
    EXPECT_LT(std::abs(product / size), 6 / std::sqrt(static_cast<double>(size)));
  }
}

TEST(Random, KeysDifferInEveryPartAndInOrder) {
  std::set<std::uint64_t> keys;
  for (int a = 0; a < 30; ++a)
    for (int b = 0; b < 30; ++b)
      for (int c = 0; c < 30; ++c)
        keys.insert(key_of(7, a, b, c));
  EXPECT_EQ(keys.size(), 27'000u);
  EXPECT_NE(key_of(7), key_of(7, 0));
  EXPECT_NE(key_of(7, 0), key_of(7, 0, 0));
}

TEST(Random, ChoicesStayInRangeAndReachItsEnds) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  Random random(seed);
  std::set<std::int64_t> uniform;
  std::set<std::int64_t> logarithmic;
  std::set<int> picked;
  for (int i = 0; i < 4000; ++i) {
    uniform.insert(random.between(-3, 4));
    logarithmic.insert(random.log_between(1, 6));
    picked.insert(random.pick({2, 5, 11}));
    const double unit = random.unit();
    ASSERT_TRUE(unit >= 0 && unit < 1);
  }
  EXPECT_EQ(uniform, (std::set<std::int64_t>{-3, -2, -1, 0, 1, 2, 3, 4}));
  EXPECT_EQ(logarithmic, (std::set<std::int64_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(picked, (std::set<int>{2, 5, 11}));
  EXPECT_EQ(random.log_between(9, 9), 9);
}

TEST(Random, LogBetweenFavoursNoPowerOfTwo) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  Random random(seed);
  int below_64 = 0;
  constexpr int draws = 10'000;
  for (int i = 0; i < draws; ++i)
    below_64 += random.log_between(1, 4095) < 64 ? 1 : 0;
  EXPECT_NEAR(below_64, draws / 2.0, 400);
}

TEST(Random, FreshSeedsDiffer) {
  std::set<std::uint64_t> seeds;
  for (int i = 0; i < 8; ++i)
    seeds.insert(fresh_seed());
  EXPECT_GT(seeds.size(), 1u);
  EXPECT_LE(*seeds.rbegin(), 1'000'000'000u);
}

}  // namespace
}  // namespace flashmla::support
