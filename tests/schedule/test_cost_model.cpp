// The integer functions that split_kv uses.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/schedule/drawn_batch.h"

namespace flashmla::schedule {

namespace {

static_assert(cpu_cost_model(1).valid() && cpu_cost_model(std::int64_t{1} << 40).valid());
static_assert(hopper_cost_model(1, 16).valid() &&
              hopper_cost_model(std::int64_t{1} << 40, 64).valid());
static_assert(!CostModel{.block_ns = 1000, .segment_ns = 1000, .split_ns = 0}.valid());
static_assert(!CostModel{.block_ns = 1000, .segment_ns = 1000, .split_ns = 63}.valid());
static_assert(!CostModel{.block_ns = 1000, .segment_ns = 124, .split_ns = 10}.valid());

TEST(CostModel, IsValidForEveryNumberOfRows) {
  for (const CostModel& model : all_cost_models())
    ASSERT_TRUE(model.valid()) << model.block_ns << ' ' << model.segment_ns << ' '
                               << model.split_ns;
}

TEST(CostModel, NeverGetsCheaperWithMoreRows) {
  for (std::int64_t rows = 1; rows < 256; ++rows) {
    ASSERT_LE(cpu_cost_model(rows).block_ns, cpu_cost_model(rows + 1).block_ns);
    ASSERT_LE(hopper_cost_model(rows, 64).split_ns, hopper_cost_model(rows + 1, 64).split_ns);
  }
}

// Reciprocals as floats have 24 correct bits, and quotients here have up to 50 bits.
TEST(Divisor, IsExact) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  for (int i = 0; i < 200000; ++i) {
    const std::int64_t value = random.log_between(1, std::int64_t{1} << 45);
    const std::int64_t quotient = random.log_between(1, (std::int64_t{1} << 60) / value);
    const Divisor<std::int64_t> divisor(value);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << value << " times " << quotient);
    ASSERT_EQ(divisor.quotient(value * quotient), quotient);
    ASSERT_EQ(divisor.quotient(value * quotient - 1), quotient - 1);
    ASSERT_EQ(divisor.quotient(value * quotient + value - 1), quotient);
    ASSERT_EQ(divisor.quotient_up(value * quotient), quotient);
    ASSERT_EQ(divisor.quotient_up(value * quotient - value + 1), quotient);
  }
  EXPECT_EQ(Divisor<std::int64_t>(7).quotient(0), 0);
}

// Quotients up to the largest one that is promised, and numbers whose sum with the divisor takes 32
// bits.
TEST(Divisor, Of32BitsIsExact) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  for (int i = 0; i < 200000; ++i) {
    constexpr std::int64_t max_value = std::numeric_limits<std::int32_t>::max();
    const auto value = static_cast<std::int32_t>(random.log_between(1, max_value));
    const std::int64_t max_quotient = smaller<std::int64_t>(max_value / value, (1 << 21) - 1);
    const auto quotient =
        static_cast<std::int32_t>(i % 4 == 0 ? max_quotient : random.log_between(1, max_quotient));
    const std::int32_t product = value * quotient;
    const Divisor<std::int32_t> divisor(value);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << value << " times " << quotient);
    ASSERT_EQ(divisor.quotient(product), quotient);
    ASSERT_EQ(divisor.quotient(product - 1), quotient - 1);
    if (product <= max_value - value) {
      ASSERT_EQ(divisor.quotient(product + value - 1), quotient);
    }
    ASSERT_EQ(divisor.quotient_up(product), quotient);
    ASSERT_EQ(divisor.quotient_up(product - value + 1), quotient);
  }
  EXPECT_EQ(Divisor<std::int32_t>(7).quotient(0), 0);
}

TEST(IntegerSqrt, AgreesWithCounting) {
  std::int64_t root = 0;
  for (std::int64_t value = 0; value < 200000; ++value) {
    while ((root + 1) * (root + 1) <= value)
      ++root;
    ASSERT_EQ(integer_sqrt(value), root) << value;
  }
}

TEST(IntegerSqrt, IsExactAroundLargeSquares) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  for (int i = 0; i < 100000; ++i) {
    const std::int64_t root = random.log_between(2, (std::int64_t{1} << 31) - 1);
    ASSERT_EQ(integer_sqrt(root * root), root) << "seed " << seed;
    ASSERT_EQ(integer_sqrt(root * root - 1), root - 1) << "seed " << seed;
    ASSERT_EQ(integer_sqrt(root * root + 2 * root), root) << "seed " << seed;
  }
}

TEST(BlocksOf, CountsStartedBlocks) {
  EXPECT_EQ(blocks_of(0, 64), 0);
  EXPECT_EQ(blocks_of(1, 64), 1);
  EXPECT_EQ(blocks_of(64, 64), 1);
  EXPECT_EQ(blocks_of(65, 64), 2);
  constexpr std::int64_t longest = std::numeric_limits<std::int32_t>::max();
  EXPECT_EQ(blocks_of(longest, 64), std::int64_t{1} << 25);
  EXPECT_EQ(blocks_of(longest, 1), longest);
}

// At the cap one more segment no longer makes the request shorter: blocks · block_ns / s + s ·
// split_ns has its minimum there.
TEST(SplitCap, IsTheCheapestNumberOfSegments) {
  const auto time = [](double blocks, double segments, const CostModel& cost) {
    return blocks * cost.block_ns / segments + segments * cost.split_ns;
  };
  for (const CostModel& cost : all_cost_models())
    for (const std::int32_t blocks : {1, 2, 3, 16, 17, 100, 1000, 16384, 1 << 25}) {
      const std::int32_t cap = split_cap(blocks, cost);
      ASSERT_GE(cap, 1);
      ASSERT_LE(cap, blocks);
      const auto total = static_cast<double>(blocks);
      const auto segments = static_cast<double>(cap);
      ASSERT_LE(segments * segments * cost.split_ns, total * cost.block_ns) << blocks;
      if (cap < blocks) {
        const double cheapest = 2 * std::sqrt(total * cost.block_ns * cost.split_ns);
        ASSERT_LE(time(total, segments, cost), cheapest + cost.split_ns) << blocks;
      }
    }
}

}  // namespace

}  // namespace flashmla::schedule
