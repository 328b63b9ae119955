// What the suites promise to hold, for any seed.
#include "support/dense_suite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "support/dense_runner.h"
#include "support/random.h"

namespace flashmla::support {
namespace {

std::map<std::string_view, int> count_options(const DenseSuite& suite) {
  std::map<std::string_view, int> counts;
  for (std::int64_t i = 0; i < suite.cases(); ++i)
    for (const CaseOption& option : options_of(suite.draw(i)))
      counts[option.name] += option.on ? 1 : 0;
  return counts;
}

TEST(DenseSuite, FullHoldsWhatItPromises) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const DenseSuite suite(SuiteSize::full, seed);
  EXPECT_GE(suite.cases(), 1000);
  const auto counts = count_options(suite);
  EXPECT_EQ(counts.size(), 18u);
  for (const auto& [name, count] : counts) {
    if (name != "above_32768") {
      EXPECT_GE(count, 100) << name;
    }
  }
  EXPECT_GE(counts.at("above_4096"), 200);
  EXPECT_GE(counts.at("above_32768"), 30);
}

TEST(DenseSuite, FullReachesEveryShape) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const DenseSuite suite(SuiteSize::full, seed);
  std::set<std::int64_t> heads;
  std::set<std::int64_t> kv_heads;
  std::set<std::int64_t> pages;
  std::set<std::int64_t> query_tokens;
  std::int64_t batch = 0;
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < suite.cases(); ++i) {
    const DenseCase c = suite.draw(i);
    heads.insert(c.query_heads);
    kv_heads.insert(c.kv_heads);
    pages.insert(c.page_size);
    query_tokens.insert(c.query_tokens);
    batch = std::max(batch, c.batch());
    longest = std::max(longest, c.longest());
    ASSERT_EQ(c.query_heads % c.kv_heads, 0);
  }
  EXPECT_EQ(heads, (std::set<std::int64_t>{1, 2, 3, 4, 5, 8, 9, 10, 12, 16, 20, 32, 40, 48, 63, 64,
                                           96, 126, 128}));
  EXPECT_EQ(kv_heads, (std::set<std::int64_t>{1, 2, 3, 8}));
  EXPECT_EQ(pages, (std::set<std::int64_t>{1, 7, 13, 16, 32, 48, 64, 100, 128, 256}));
  EXPECT_TRUE(query_tokens.contains(1) && query_tokens.contains(64));
  EXPECT_EQ(batch, 321);
  EXPECT_GT(longest, 100'000);
}

TEST(DenseSuite, CasesFollowFromSeedAndIndex) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const DenseSuite suite(SuiteSize::shorter, seed);
  EXPECT_EQ(suite.cases(), 300);
  std::set<std::string> descriptions;
  for (std::int64_t i = suite.cases() - 1; i >= 0; --i) {
    ASSERT_EQ(describe(suite.draw(i)), describe(DenseSuite(SuiteSize::shorter, seed).draw(i)));
    descriptions.insert(describe(suite.draw(i)));
  }
  EXPECT_EQ(descriptions.size(), 300u);
  EXPECT_NE(describe(suite.draw(0)), describe(DenseSuite(SuiteSize::shorter, seed + 1).draw(0)));
}

TEST(DenseSuite, ShortHasEveryOptionAndTinyIsSmall) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  for (const auto& [name, count] : count_options(DenseSuite(SuiteSize::shorter, seed)))
    EXPECT_GE(count, 3) << name;
  const DenseSuite tiny(SuiteSize::tiny, seed);
  EXPECT_EQ(tiny.cases(), 150);
  for (std::int64_t i = 0; i < tiny.cases(); ++i)
    ASSERT_LE(tiny.draw(i).row_tokens(), 100'000);
}

// What a run of the full suite costs stays within minutes for any seed.
TEST(DenseSuite, FullStaysWithinItsBudget) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const DenseSuite suite(SuiteSize::full, seed);
  double row_tokens = 0;
  double oracle_tokens = 0;
  for (std::int64_t i = 0; i < suite.cases(); ++i) {
    const DenseCase c = suite.draw(i);
    row_tokens += static_cast<double>(c.row_tokens());
    for (const RowIndex& row : rows_to_check(c))
      oracle_tokens += c.lengths[static_cast<std::size_t>(row.request)];
  }
  EXPECT_LT(row_tokens, 1.5e9);
  EXPECT_LT(oracle_tokens, 4e8);
}

TEST(DenseSuite, SizesHaveNames) {
  for (const SuiteSize size : {SuiteSize::full, SuiteSize::shorter, SuiteSize::tiny})
    EXPECT_EQ(suite_size_of(name_of(size)), size);
  EXPECT_EQ(suite_size_of("huge"), std::nullopt);
}

}  // namespace
}  // namespace flashmla::support
