#include "tools/replay/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "support/random.h"
#include "tools/replay/content.h"
#include "tools/replay/verify.h"

namespace flashmla::tools {
namespace {

// All choices of a sampler whose results come in groups of random sizes.
std::vector<std::int64_t> chosen(std::int64_t total, std::int64_t count, std::uint64_t key,
                                 support::Random& groups) {
  Sampler sampler(total, count, key);
  std::vector<std::int64_t> all;
  for (std::int64_t first = 0; first < total;) {
    const std::int64_t group = std::min(total - first, groups.between(1, 50));
    for (const std::int64_t offset : sampler.among_next(group)) {
      EXPECT_GE(offset, 0);
      EXPECT_LT(offset, group);
      all.push_back(first + offset);
    }
    first += group;
  }
  return all;
}

TEST(Sampler, ChoosesSoManyDistinctResultsByItsKey) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 200; ++i) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ", case " << i);
    support::Random random(support::key_of(seed, i));
    const std::int64_t total = random.between(0, 3000);
    const std::int64_t count = random.between(1, 1500);
    const auto all = chosen(total, count, i, random);
    EXPECT_EQ(std::ssize(all), std::min(total, count));
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end(), std::less_equal<>()));
    EXPECT_EQ(all, chosen(total, count, i, random)) << "the grouping does not matter";
    if (total > 100 && count < total / 2) {
      EXPECT_NE(all, chosen(total, count, i + 1, random));
    }
  }
}

// Every tenth of the results is chosen about equally often: 10,000 draws, 1,000 expected, standard
// deviation 30.
TEST(Sampler, ChoosesEvenly) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  support::Random groups(seed);
  std::vector<int> tenths(10);
  for (const std::int64_t index : chosen(1'000'000, 10'000, seed, groups))
    ++tenths[index / 100'000];
  for (const int count : tenths)
    EXPECT_NEAR(count, 1000, 200);
}

TEST(Content, AcceptsOneToAllDraftsAndNeverMoreThanAreLeft) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::vector<int> seen(5);
  for (std::int64_t step = 0; step < 2000; ++step) {
    const std::int64_t accepted = accepted_drafts(seed, 7, step, 4, 1000);
    ASSERT_GE(accepted, 1);
    ASSERT_LE(accepted, 4);
    ++seen[accepted];
    EXPECT_EQ(accepted_drafts(seed, 7, step, 4, 1), 1);
    EXPECT_EQ(accepted_drafts(seed, 7, step, 1, 9), 1);
  }
  for (int k = 1; k <= 4; ++k)
    EXPECT_GT(seen[k], 300) << k;
}

TEST(Content, RowsDifferWithEveryPartOfTheirPlace) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  const TokenPlace place{.request = 3, .position = 5, .layer = 1, .attempt = 2};
  std::vector<TokenPlace> others(4, place);
  others[0].request = 4;
  others[1].position = 6;
  others[2].layer = 0;
  others[3].attempt = 3;
  std::vector<float> row(16);
  std::vector<float> other(16);
  fill_row(seed, place, row);
  for (const TokenPlace& changed : others) {
    fill_row(seed, changed, other);
    EXPECT_NE(row, other);
  }
  fill_row(seed + 1, place, other);
  EXPECT_NE(row, other);
  fill_row(seed, place, other);
  EXPECT_EQ(row, other);
  fill_query(seed, place, 0, other);
  EXPECT_NE(row, other);
}

// One entry for each cached row: prompt, accepted rows of earlier steps, drafts of this step.
TEST(Verify, AttemptsTellWhichStepWroteARow) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  const VerifyOptions options{.seed = seed, .drafts = 3};
  std::vector<std::int64_t> expected(4, 0);
  for (std::int64_t step = 0; step < 5; ++step) {
    const auto attempts = attempts_of(options, 9, {.context = 4, .generated = 100}, step);
    std::vector<std::int64_t> cached = expected;
    cached.insert(cached.end(), 3, step + 1);
    EXPECT_EQ(attempts, cached);
    expected.insert(expected.end(), accepted_drafts(seed, 9, step, 3, 100), step + 1);
  }
}

}  // namespace
}  // namespace flashmla::tools
