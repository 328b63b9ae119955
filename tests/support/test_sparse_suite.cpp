// The promises of the sparse suites about their cases, for any seed.
#include "support/sparse_suite.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "support/random.h"

namespace flashmla::support {
namespace {

std::map<std::string_view, int> count_options(const SparseSuite& suite) {
  std::map<std::string_view, int> counts;
  for (std::int64_t i = 0; i < suite.cases(); ++i)
    for (const CaseOption& option : options_of(suite.draw(i)))
      counts[option.name] += option.on ? 1 : 0;
  return counts;
}

TEST(SparseSuite, FullHoldsWhatItPromises) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  for (const AttentionKind kind : {AttentionKind::sparse_decode, AttentionKind::sparse_prefill}) {
    const SparseSuite suite(kind, SuiteSize::full, seed);
    const bool decode = kind == AttentionKind::sparse_decode;
    EXPECT_GE(suite.cases(), decode ? 600 : 400);
    const auto counts = count_options(suite);
    EXPECT_EQ(counts.size(), decode ? 23u : 17u);
    for (const auto& [name, count] : counts)
      EXPECT_GE(count, 60) << name;
    EXPECT_GE(counts.at("topk_1024"), 150 * suite.cases() / 900);
    if (!decode)
      continue;
    for (const char* format : {"bf16", "v32", "v4"})
      EXPECT_GE(counts.at(format), 120) << format;
  }
}

TEST(SparseSuite, ReachesEveryShape) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  std::set<std::int64_t> heads;
  std::set<std::int64_t> pages;
  std::int64_t query_tokens = 0;
  const SparseSuite suite(AttentionKind::sparse_decode, SuiteSize::full, seed);
  for (std::int64_t i = 0; i < suite.cases(); ++i) {
    const SparseCase c = suite.draw(i);
    heads.insert(c.query_heads);
    pages.insert(c.page_size);
    query_tokens = std::max(query_tokens, c.batch * c.query_tokens);
  }
  EXPECT_EQ(heads.size(), 16u);
  EXPECT_EQ(pages.size(), 10u);
  EXPECT_GT(query_tokens, 200);
}

TEST(SparseSuite, CasesFollowFromSeedAndIndex) {
  const SparseSuite suite(AttentionKind::sparse_decode, SuiteSize::tiny, 5);
  EXPECT_EQ(describe(suite.draw(17)), describe(suite.draw(17)));
  EXPECT_NE(describe(suite.draw(17)), describe(suite.draw(18)));
  const SparseSuite other(AttentionKind::sparse_decode, SuiteSize::tiny, 6);
  EXPECT_NE(describe(suite.draw(17)), describe(other.draw(17)));
}

}  // namespace
}  // namespace flashmla::support
