#include "tools/figures.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "support/random.h"

namespace flashmla::tools {
namespace {

TEST(Figures, Bytes) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1536), "1.50 KiB");
  EXPECT_EQ(bytes_text(20.0 * 1024 * 1024), "20.0 MiB");
  EXPECT_EQ(bytes_text(300.0 * 1024 * 1024 * 1024), "300 GiB");
}

TEST(Figures, Seconds) {
  EXPECT_EQ(seconds_text(0), "0 ns");
  EXPECT_EQ(seconds_text(850e-9), "850 ns");
  EXPECT_EQ(seconds_text(12.34e-6), "12.3 us");
  EXPECT_EQ(seconds_text(4.561e-3), "4.56 ms");
  EXPECT_EQ(seconds_text(1.2), "1.20 s");
  EXPECT_EQ(seconds_text(321), "321 s");
}

TEST(Figures, RoundingUpChangesTheUnit) {
  EXPECT_EQ(seconds_text(999.9e-6), "1.00 ms");
  EXPECT_EQ(seconds_text(999.9e-9), "1.00 us");
}

TEST(Figures, SpreadOfKnownValues) {
  const std::vector<double> values{5, 1, 4, 2, 3};
  const Spread spread = spread_of(values);
  EXPECT_EQ(spread.median, 3);
  EXPECT_EQ(spread.lower_quartile, 2);
  EXPECT_EQ(spread.upper_quartile, 4);
  EXPECT_EQ(spread.least, 1);
  EXPECT_EQ(spread.most, 5);
  EXPECT_EQ(spread.count, 5);
  EXPECT_EQ(spread_of(std::vector<double>{1, 2}).median, 1.5);
  EXPECT_EQ(spread_of(std::vector<double>{7}).upper_quartile, 7);
  EXPECT_EQ(spread_of({}).count, 0);
}

TEST(Figures, SpreadDoesNotDependOnTheOrder) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  std::vector<double> values(static_cast<std::size_t>(random.between(2, 100)));
  for (double& value : values)
    value = random.unit();
  const Spread before = spread_of(values);
  std::ranges::reverse(values);
  const Spread after = spread_of(values);
  EXPECT_EQ(before.median, after.median);
  EXPECT_EQ(before.lower_quartile, after.lower_quartile);
  const auto below = std::ranges::count_if(values, [&](double v) { return v <= before.median; });
  EXPECT_GE(2 * below, std::ssize(values));
}

}  // namespace
}  // namespace flashmla::tools
