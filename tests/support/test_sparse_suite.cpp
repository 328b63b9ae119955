// The promises of the sparse suites about their cases, for any seed.
#include "support/sparse_suite.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "support/random.h"
#include "support/sparse_extreme_cases.h"

namespace flashmla::support {
namespace {

constexpr AttentionKind decode_kind = AttentionKind::sparse_decode;

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
    EXPECT_EQ(counts.size(), decode ? 29u : 21u);
    for (const auto& [name, count] : counts)
      EXPECT_GE(count, 60) << name;
    EXPECT_GE(counts.at("topk_1024"), 150 * suite.cases() / 900);
    if (!decode)
      continue;
    for (const char* format : {"bf16", "v32", "v4"})
      EXPECT_GE(counts.at(format), 120) << format;
  }
}

// Long lists have slots enough for the rules that need 1,024 different tokens: twice as many, as
// half of them may be poisoned.
TEST(SparseSuite, MostLongListsHaveManySlots) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  for (const bool on_gpu : {false, true}) {
    const SparseSuite suite(decode_kind, SuiteSize::full, seed, on_gpu);
    int long_lists = 0;
    int many_slots = 0;
    for (std::int64_t i = 0; i < suite.cases(); ++i) {
      const SparseCase c = suite.draw(i);
      if (c.topk < 1'024)
        continue;
      ++long_lists;
      many_slots += c.num_pages * c.page_size >= 2'048 ? 1 : 0;
    }
    EXPECT_GE(many_slots, 0.65 * long_lists) << long_lists;
    EXPECT_LT(many_slots, long_lists) << "few slots that are often repeated are cases, too";
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
  EXPECT_EQ(heads.size(), 20u);
  EXPECT_EQ(pages.size(), 10u);
  EXPECT_GT(query_tokens, 200);
}

// The suite of a GPU begins with the cases of the CPU, with strides that a GPU takes, and goes on
// with larger ones.
TEST(SparseSuite, AGpuHasMoreCases) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const SparseSuite suite(decode_kind, SuiteSize::full, seed, true);
  const SparseSuite of_cpu(decode_kind, SuiteSize::full, seed);
  ASSERT_GE(suite.cases(), 1'500);
  std::set<std::int64_t> heads;
  std::set<std::int64_t> query_tokens;
  std::set<std::int64_t> residues;
  std::int64_t longest = 0;
  std::int64_t heavy = 0;
  for (std::int64_t i = 0; i < suite.cases(); ++i) {
    const SparseCase c = suite.draw(i);
    ASSERT_TRUE(c.aligned);
    if (i < of_cpu.cases()) {
      ASSERT_EQ(describe(c), describe(of_cpu.draw(i)));
      continue;
    }
    heads.insert(c.query_heads);
    query_tokens.insert(c.query_tokens);
    residues.insert(c.topk % 64);
    longest = std::max(longest, c.topk);
    heavy += c.row_entries() > 10'000'000 ? 1 : 0;
    ASSERT_LE(c.topk, 16'384);
  }
  for (const std::int64_t wanted :
       {1, 2, 4, 5, 8, 10, 12, 16, 20, 32, 40, 48, 63, 64, 96, 126, 128, 192, 256})
    EXPECT_TRUE(heads.contains(wanted)) << wanted;
  for (const std::int64_t wanted : {1, 2, 3, 4, 5, 8, 16, 64})
    EXPECT_TRUE(query_tokens.contains(wanted)) << wanted;
  EXPECT_GT(residues.size(), 50u);
  EXPECT_EQ(longest, 16'384);
  EXPECT_GT(heavy, 50);
}

// Bytes of a cache, its gaps included.
std::int64_t cache_bytes(const SparseCase& c, std::int64_t pages, std::int64_t page_size) {
  return pages * (page_size * token_bytes(c.format, c.qk_dim) + c.page_gap);
}

TEST(SparseSuite, AGpuHasCasesAtTheLimits) {
  const SparseSuite suite(decode_kind, SuiteSize::full, 1, true);
  constexpr std::int64_t limit = std::int64_t{1} << 31;
  std::map<KvFormat, int> large;
  bool large_extra = false;
  bool large_by_strides = false;
  std::int64_t requests = 0;
  std::int64_t query_tokens = 0;
  for (std::int64_t i = suite.cases() - sparse_extreme_cases(); i < suite.cases(); ++i) {
    const SparseCase c = suite.draw(i);
    requests = std::max(requests, c.batch);
    query_tokens = std::max(query_tokens, c.query_tokens);
    const bool beyond = cache_bytes(c, c.num_pages, c.page_size) > limit;
    large[c.format] += beyond ? 1 : 0;
    large_by_strides |= beyond && c.page_gap > 1'000'000;
    large_extra |= c.extra_topk > 0 && cache_bytes(c, c.extra_pages, c.extra_page_size) > limit;
  }
  for (const KvFormat format : {KvFormat::bf16, KvFormat::v32, KvFormat::v4})
    EXPECT_GE(large[format], 1) << name_of(format);
  EXPECT_TRUE(large_extra && large_by_strides);
  EXPECT_EQ(requests, 131'072);
  EXPECT_EQ(query_tokens, 131'072);
}

// The sanitizer suite reaches every kernel and every branch of its launch.
TEST(SparseSuite, SanitizerReachesWhatLaunchesDependOn) {
  const SparseSuite suite(decode_kind, SuiteSize::sanitizer, 1, true);
  EXPECT_GE(suite.cases(), 60);
  EXPECT_EQ(SparseSuite(AttentionKind::sparse_prefill, SuiteSize::sanitizer, 1).cases(), 0);
  std::set<std::tuple<KvFormat, std::int64_t, std::int64_t, bool>> kernels;
  std::set<std::pair<KvFormat, bool>> nan;
  std::map<std::string_view, int> counts = count_options(suite);
  for (std::int64_t i = 0; i < suite.cases(); ++i) {
    const SparseCase c = suite.draw(i);
    ASSERT_LE(c.row_entries(), 800'000) << "for sanitizers, which are slow";
    const std::int64_t h = c.query_heads;
    const int tile = h <= 16 ? 16 : h <= 32 ? 32 : h <= 64 ? 64 : 128;
    kernels.insert({c.format, c.qk_dim, tile, c.extra_topk > 0});
    if (c.nan_rows)
      nan.insert({c.format, h > 32});
  }
  for (const auto& [format, width] : {std::pair<KvFormat, std::int64_t>{KvFormat::bf16, 576},
                                      {KvFormat::bf16, 512},
                                      {KvFormat::v32, 576},
                                      {KvFormat::v4, 512}})
    for (const std::int64_t tile : {16, 32, 64, 128})
      for (const bool extra : {false, true})
        EXPECT_TRUE(kernels.contains({format, width, tile, extra})) << name_of(format) << tile;
  EXPECT_EQ(nan.size(), 6u);
  for (const auto& [option, count] : counts)
    EXPECT_GE(count, 1) << option;
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
