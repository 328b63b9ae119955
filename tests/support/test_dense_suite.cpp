// The promises of the suites about their cases, for any seed.
#include "support/dense_suite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "support/dense_runner.h"
#include "support/generate.h"
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

// Options that only some suites have.
const std::set<std::string_view> rare{"above_32768", "above_65536", "appended", "merged"};

TEST(DenseSuite, FullHoldsWhatItPromises) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const DenseSuite suite(SuiteSize::full, seed);
  EXPECT_GE(suite.cases(), 1000);
  const auto counts = count_options(suite);
  EXPECT_EQ(counts.size(), 21u);
  for (const auto& [name, count] : counts)
    if (!rare.contains(name)) {
      EXPECT_GE(count, 100) << name;
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
    if (name == "above_32768" || !rare.contains(name)) {
      EXPECT_GE(count, 3) << name;
    }
  const DenseSuite tiny(SuiteSize::tiny, seed);
  EXPECT_EQ(tiny.cases(), 150);
  for (std::int64_t i = 0; i < tiny.cases(); ++i)
    ASSERT_LE(tiny.draw(i).row_tokens(), 100'000);
}

// A run of the full suite takes only minutes, for any seed.
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
      oracle_tokens += c.lengths[row.request];
  }
  EXPECT_LT(row_tokens, 1.5e9);
  EXPECT_LT(oracle_tokens, 4e8);
}

// On a GPU the suite begins with the cases of the CPU. Larger cases follow.
TEST(DenseSuite, OnAGpuFullHoldsMore) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const DenseSuite cpu(SuiteSize::full, seed);
  const DenseSuite gpu(SuiteSize::full, seed, true);
  EXPECT_GE(gpu.cases(), 1500);
  for (std::int64_t i = 0; i < cpu.cases(); i += 13)
    ASSERT_EQ(describe(gpu.draw(i)), describe(cpu.draw(i)));
  const auto counts = count_options(gpu);
  for (const auto& [name, count] : counts)
    EXPECT_GE(count, 40) << name;
  EXPECT_GE(counts.at("above_4096"), 400);
  EXPECT_GE(counts.at("above_65536"), 60);
  std::set<std::int64_t> heads;
  std::set<std::int64_t> pages;
  std::int64_t query_tokens = 0;
  std::int64_t batch = 0;
  bool of_700 = false;
  for (std::int64_t i = cpu.cases(); i < gpu.cases(); ++i) {
    const DenseCase c = gpu.draw(i);
    ASSERT_FALSE(c.merged && c.causal);
    heads.insert(c.query_heads);
    pages.insert(c.page_size);
    query_tokens = std::max(query_tokens, c.query_tokens);
    batch = std::max(batch, c.batch());
    of_700 |= c.query_tokens == 700;
  }
  EXPECT_EQ(heads.size(), 19u);
  EXPECT_EQ(pages.size(), 11u);
  EXPECT_EQ(query_tokens, 131'072);
  EXPECT_EQ(batch, 131'072);
  EXPECT_TRUE(of_700);
}

// The cost of each of these larger cases on the host and in GPU memory, for any seed.
TEST(DenseSuite, OnAGpuFullStaysWithinItsBudget) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const DenseSuite suite(SuiteSize::full, seed, true);
  double oracle_tokens = 0;
  double cache_bytes = 0;
  for (std::int64_t i = 1040; i < suite.cases(); ++i) {
    const DenseCase c = suite.draw(i);
    const double bytes = 2.0 *
                         static_cast<double>(assign_pages(c).num_pages * c.page_size * c.kv_heads) *
                         static_cast<double>(c.qk_dim + c.cache_padding);
    ASSERT_LT(bytes, 2e9) << describe(c);
    cache_bytes += bytes;
    for (const RowIndex& row : rows_to_check(c))
      oracle_tokens += c.lengths[row.request];
  }
  EXPECT_LT(cache_bytes, 60e9);
  EXPECT_LT(oracle_tokens, 8e8);
}

// The sanitizer suite reaches every kernel and every branch of its launch.
TEST(DenseSuite, SanitizerReachesWhatLaunchesDependOn) {
  const DenseSuite suite(SuiteSize::sanitizer, 1);
  EXPECT_GE(suite.cases(), 60);
  std::set<std::tuple<DType, std::int64_t, int, bool, bool>> kernels;
  std::map<std::string_view, int> counts = count_options(suite);
  std::set<std::int64_t> pages;
  bool many_tiles = false;
  bool many_requests = false;
  for (std::int64_t i = 0; i < suite.cases(); ++i) {
    const DenseCase c = suite.draw(i);
    ASSERT_LE(c.row_tokens(), 1'500'000) << "for sanitizers, which are slow";
    ASSERT_FALSE(c.merged && c.causal);
    const std::int64_t rows = c.query_tokens * c.query_heads / c.kv_heads;
    const std::int64_t tiles = (rows + 63) / 64;
    const int kernel = rows <= 16 ? 0 : rows <= 32 ? 1 : tiles % 2 == 1 ? 2 : 3;
    kernels.insert({c.type, c.qk_dim, kernel, c.page_size % 64 == 0, c.max_workers == 1});
    ASSERT_TRUE(!c.merged || c.max_workers == 1) << "roundings that the rules have no room for";
    pages.insert(c.page_size);
    many_tiles |= tiles > 132;
    many_requests |= c.batch() > 256;
  }
  for (const DType type : {DType::bf16, DType::fp16})
    for (const std::int64_t qk_dim : {576, 512})
      for (int kernel = 0; kernel < 4; ++kernel) {
        EXPECT_TRUE(kernels.contains({type, qk_dim, kernel, true, false})) << kernel;
        EXPECT_TRUE(kernels.contains({type, qk_dim, kernel, false, false})) << kernel;
        EXPECT_TRUE(kernels.contains({type, qk_dim, kernel, false, true})) << kernel;
      }
  for (const std::int64_t page : {1, 7, 8, 16, 32, 48, 64, 128, 256})
    EXPECT_TRUE(pages.contains(page)) << page;
  EXPECT_TRUE(many_tiles && many_requests);
  for (const char* option :
       {"causal", "sink", "softmax_scale", "kv_heads", "strided_q", "strided_cache", "strided_out",
        "zero_length", "batch_invariant", "max_workers", "shared_pages", "appended", "merged"})
    EXPECT_GE(counts.at(option), 1) << option;
}

TEST(DenseSuite, SizesHaveNames) {
  for (const SuiteSize size :
       {SuiteSize::full, SuiteSize::shorter, SuiteSize::tiny, SuiteSize::sanitizer})
    EXPECT_EQ(suite_size_of(name_of(size)), size);
  EXPECT_EQ(suite_size_of("huge"), std::nullopt);
}

}  // namespace
}  // namespace flashmla::support
