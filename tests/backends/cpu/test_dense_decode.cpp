// Compares the results of every instruction set with loops in double, under schedules that split
// requests in many ways.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/isa.h"
#include "tests/backends/cpu/dense_case.h"

namespace flashmla::backends::cpu {
namespace {

template <class Value>
Value pick(std::mt19937& random, std::initializer_list<Value> choices) {
  return *(choices.begin() + random() % choices.size());
}

class DenseDecode : public ::testing::TestWithParam<const KernelTable*> {
 protected:
  const KernelTable& kernels() const { return *GetParam(); }
  static unsigned fresh_seed() { return std::random_device{}(); }

  void expect_right(const CaseOptions& options, unsigned seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    DenseCase dense(options, seed);
    dense.expect_right(dense.run(kernels(), cpu_backend().decide(dense.problem())->params));
  }
};

TEST_P(DenseDecode, RandomCasesAreRight) {
  for (int i = 0; i < 40 && !HasFailure(); ++i) {
    const unsigned seed = fresh_seed();
    std::mt19937 random(seed);
    CaseOptions o;
    o.query_tokens = pick<std::int64_t>(random, {1, 1, 2, 3, 5});
    o.kv_heads = pick<std::int64_t>(random, {1, 1, 1, 2, 3});
    o.query_heads = o.kv_heads * pick<std::int64_t>(random, {1, 2, 4, 5, 7, 10, 12, 16, 20});
    o.qk_dim = pick<std::int64_t>(random, {576, 512});
    o.page_size = pick<std::int64_t>(random, {1, 3, 16, 32, 64, 100, 256});
    o.type = pick(random, {DType::bf16, DType::fp16});
    o.causal = random() % 2 == 0;
    o.sink = random() % 2 == 0;
    o.strided = random() % 2 == 0;
    o.batch_invariant = random() % 4 == 0;
    o.max_workers = pick(random, {0, 0, 1, 3});
    o.softmax_scale = pick(random, {1.0f / 24, 0.1f, -0.02f, 0.0f});
    const auto requests = 1 + random() % 4;
    for (std::size_t r = 0; r < requests; ++r)
      o.lengths.push_back(random() % 6 == 0 ? static_cast<std::int32_t>(random() % 4)
                                            : static_cast<std::int32_t>(random() % 400));
    expect_right(o, seed);
  }
}

TEST_P(DenseDecode, EveryHeadCountIsRight) {
  for (const std::int64_t heads : {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 32, 40, 48, 64, 96, 128})
    expect_right({.lengths = {130, 65}, .query_heads = heads, .sink = true}, fresh_seed());
}

// All lengths around the end of a block, so that every remainder of a group of tokens occurs.
TEST_P(DenseDecode, EveryTailIsRight) {
  CaseOptions options{.lengths = {}, .query_heads = 5, .page_size = 16};
  for (std::int32_t length = 0; length <= 130; ++length)
    options.lengths.push_back(length);
  expect_right(options, fresh_seed());
}

TEST_P(DenseDecode, MoreQueryTokensThanCachedOnesIsRight) {
  expect_right(
      {.lengths = {3, 0, 70, 9}, .query_tokens = 9, .query_heads = 3, .causal = true, .sink = true},
      fresh_seed());
}

TEST_P(DenseDecode, CausalTilesOfManyQueryTokensAreRight) {
  expect_right({.lengths = {300, 131}, .query_tokens = 131, .query_heads = 2, .causal = true},
               fresh_seed());
}

TEST_P(DenseDecode, WalksTheScheduleOfAnH200) {
  const unsigned seed = fresh_seed();
  for (const bool invariant : {false, true}) {
    DenseCase dense({.lengths = {2100, 0, 63, 700}, .query_heads = 4, .batch_invariant = invariant},
                    seed);
    const schedule::SplitParams params{.requests = 4,
                                       .workers = 132,
                                       .block_tokens = 64,
                                       .cost = schedule::hopper_cost_model(4, 16),
                                       .batch_invariant = invariant};
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    dense.expect_right(dense.run(kernels(), params));
  }
}

TEST_P(DenseDecode, AnEmptyBatchIsNothing) {
  DenseCase dense({.lengths = {}}, 1);
  const CaseResult result = dense.run(kernels(), cpu_backend().decide(dense.problem())->params);
  EXPECT_TRUE(result.out.empty());
}

// A token that a query does not see must not reach its result, even where another row of the tile
// sees it.
TEST_P(DenseDecode, NanThatLaterQueriesSeeStaysWithThem) {
  const CaseOptions options{.lengths = {100}, .query_tokens = 4, .query_heads = 3, .causal = true};
  const unsigned seed = fresh_seed();
  DenseCase dense(options, seed);
  const auto params = cpu_backend().decide(dense.problem())->params;
  const CaseResult clean = dense.run(kernels(), params);
  const TensorView& cache = dense.inputs().kv_cache;
  const std::int64_t last = 99;
  auto* row = static_cast<std::uint16_t*>(cache.data) +
              dense.table()[last / 64] * cache.strides[0] + last % 64 * cache.strides[1];
  std::fill_n(row, 576, std::uint16_t{0x7fff});
  const CaseResult dirty = dense.run(kernels(), params);
  const std::size_t before = 3 * 3 * 512;  // tokens 0 … 2 of 3 heads
  EXPECT_TRUE(std::equal(clean.out.begin(), clean.out.begin() + before, dirty.out.begin()))
      << "seed " << seed;
  EXPECT_EQ(dirty.out[before] & 0x7f80, 0x7f80) << "the last token sees the NaN";
}

TEST_P(DenseDecode, HostilePagesAreSkippedAndTheFirstRequestIsNamed) {
  const unsigned seed = fresh_seed();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  for (const std::int32_t hostile : {-1, std::numeric_limits<std::int32_t>::min(), 1 << 30,
                                     std::numeric_limits<std::int32_t>::max()}) {
    DenseCase dense({.lengths = {200, 300, 200, 150}}, seed);
    const auto params = cpu_backend().decide(dense.problem())->params;
    const CaseResult clean = dense.run(kernels(), params);
    EXPECT_EQ(clean.status, 0);
    dense.table()[3 * dense.table_width()] = hostile;
    dense.table()[1 * dense.table_width() + 4] = hostile;
    const CaseResult result = dense.run(kernels(), params);
    EXPECT_EQ(result.status, 2) << "page " << hostile;
    const std::size_t request = 16 * 512;
    for (const std::size_t untouched : {0, 2})
      EXPECT_TRUE(std::equal(clean.out.begin() + untouched * request,
                             clean.out.begin() + (untouched + 1) * request,
                             result.out.begin() + untouched * request));
  }
}

// The smallest page number outside the cache is num_pages.
TEST_P(DenseDecode, ThePageAfterTheLastIsHostile) {
  DenseCase dense({.lengths = {10}}, fresh_seed());
  dense.table()[0] = static_cast<std::int32_t>(dense.inputs().kv_cache.shape[0]);
  const CaseResult result = dense.run(kernels(), cpu_backend().decide(dense.problem())->params);
  EXPECT_EQ(result.status, 1);
}

// Tokens of a page outside the cache count as unseen. The bits are those of a table without this
// page, where the page is the end of a block and where it is a whole block.
TEST_P(DenseDecode, TokensOfHostilePagesAreUnseen) {
  const unsigned seed = fresh_seed();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  for (const std::int64_t page : {16, 64}) {
    const auto pages = static_cast<std::int32_t>(page == 16 ? 4 : 2);
    DenseCase dense({.lengths = {static_cast<std::int32_t>(pages * page)}, .page_size = page},
                    seed);
    schedule::SplitParams params = cpu_backend().decide(dense.problem())->params;
    params.workers = 1;
    dense.table()[pages - 1] = -1;
    const CaseResult hostile = dense.run(kernels(), params);
    EXPECT_EQ(hostile.status, 1);
    dense.inputs().block_table.shape[1] = pages - 1;
    const CaseResult without = dense.run(kernels(), params);
    EXPECT_EQ(without.status, 0);
    EXPECT_EQ(hostile.out, without.out) << "page size " << page;
    EXPECT_EQ(hostile.lse, without.lse) << "page size " << page;
  }
}

TEST_P(DenseDecode, ANarrowerTableClampsTheLengths) {
  const unsigned seed = fresh_seed();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  DenseCase dense({.lengths = {500, 40}, .query_heads = 4, .causal = true}, seed);
  const auto params = cpu_backend().decide(dense.problem())->params;
  dense.inputs().block_table.shape[1] = 2;
  const CaseResult narrow = dense.run(kernels(), params);
  EXPECT_EQ(narrow.status, 0);

  // The same tensors with that length from the start.
  DenseCase shorter({.lengths = {500, 40}, .query_heads = 4, .causal = true}, seed);
  schedule::SplitParams one_worker = params;
  one_worker.workers = 1;
  shorter.inputs().block_table.shape[1] = 2;
  const CaseResult unsplit = shorter.run(kernels(), one_worker);
  for (std::size_t i = 0; i < narrow.out.size(); ++i) {
    const auto a = std::bit_cast<float>(std::uint32_t{narrow.out[i]} << 16);
    const auto b = std::bit_cast<float>(std::uint32_t{unsplit.out[i]} << 16);
    ASSERT_LE(std::abs(a - b), 1e-2f * std::abs(b) + 1e-6f) << "element " << i;
  }
}

std::string name_of_kernels(const ::testing::TestParamInfo<const KernelTable*>& info) {
  return info.param->name;
}

INSTANTIATE_TEST_SUITE_P(Isa, DenseDecode, ::testing::ValuesIn(usable_kernels()), name_of_kernels);

}  // namespace
}  // namespace flashmla::backends::cpu
