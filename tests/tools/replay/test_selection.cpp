// A query token selects distinct tokens that it may see, as many as there are up to its limit.
#include "tools/replay/selection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "support/random.h"

namespace flashmla::tools {
namespace {

TEST(Selection, V32TakesDistinctTokensUpToTheQuery) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(seed);
  for (const std::int64_t position : {0, 1, 500, 2047, 2048, 9000}) {
    const Selection chosen = select_rows(KvFormat::v32, seed, {3, position, 1, 4}, position);
    const std::set<std::int64_t> distinct(chosen.tokens.begin(), chosen.tokens.end());
    EXPECT_EQ(std::ssize(distinct), std::min<std::int64_t>(2048, position + 1));
    EXPECT_EQ(chosen.tokens.size(), distinct.size());
    EXPECT_GE(*distinct.begin(), 0);
    EXPECT_LE(*distinct.rbegin(), position);
    EXPECT_TRUE(chosen.extra_rows.empty());
    EXPECT_EQ(std::ssize(chosen.tokens), attended_rows(KvFormat::v32, position, position));
  }
}

TEST(Selection, V4TakesTheRecentTokensAndSettledExtraRows) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(seed);
  for (const std::int64_t position : {0, 127, 128, 3000}) {
    const std::int64_t settled = position - position % 3;
    const Selection chosen = select_rows(KvFormat::v4, seed, {3, position, 1, 4}, settled);
    EXPECT_EQ(std::ssize(chosen.tokens), std::min<std::int64_t>(128, position + 1));
    EXPECT_EQ(chosen.tokens.back(), position);
    EXPECT_TRUE(std::ranges::is_sorted(chosen.tokens));
    const std::set<std::int64_t> distinct(chosen.extra_rows.begin(), chosen.extra_rows.end());
    EXPECT_EQ(std::ssize(distinct), std::min<std::int64_t>(512, settled / 4));
    EXPECT_EQ(chosen.extra_rows.size(), distinct.size());
    if (!distinct.empty()) {
      EXPECT_LT(*distinct.rbegin(), settled / 4);
    }
    EXPECT_EQ(std::ssize(chosen.tokens) + std::ssize(chosen.extra_rows),
              attended_rows(KvFormat::v4, position, settled));
  }
}

TEST(Selection, DependsOnThePlace) {
  const TokenPlace place{3, 5000, 1, 4};
  EXPECT_EQ(select_rows(KvFormat::v32, 9, place, 5000).tokens,
            select_rows(KvFormat::v32, 9, place, 5000).tokens);
  EXPECT_NE(select_rows(KvFormat::v32, 9, place, 5000).tokens,
            select_rows(KvFormat::v32, 9, {3, 5000, 2, 4}, 5000).tokens);
}

}  // namespace
}  // namespace flashmla::tools
