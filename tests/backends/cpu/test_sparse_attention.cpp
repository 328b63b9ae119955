// Compares sparse decoding and sparse prefill with the oracle, one property in each test. `flashmla
// check` draws mixtures of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "backends/cpu/isa.h"
#include "backends/cpu/thread_pool.h"
#include "flashmla/plan.h"
#include "support/random.h"
#include "support/sparse_runner.h"

namespace flashmla::backends::cpu {
namespace {

using support::SparseCase;

SparseCase decoding(KvFormat format) {
  SparseCase c;
  c.seed = support::fresh_seed();
  c.format = format;
  c.qk_dim = is_plain(format) ? 576 : format_qk_dim(format);
  c.batch = 3;
  c.query_tokens = 2;
  c.query_heads = 5;
  c.num_pages = 7;
  c.topk = 150;
  c.invalid_share = 0.2;
  c.poisoned_share = 0.3;
  return c;
}

SparseCase prefill() {
  SparseCase c = decoding(KvFormat::bf16);
  c.kind = AttentionKind::sparse_prefill;
  c.batch = 1;
  c.query_tokens = 9;
  c.page_size = 1;
  c.num_pages = 300;
  return c;
}

support::CaseResult expect_right(const SparseCase& c) {
  support::HostMemory memory;
  support::CaseResult result = support::run_case(c, memory);
  EXPECT_THAT(result.faults, testing::IsEmpty()) << describe(c);
  return result;
}

const KvFormat formats[] = {KvFormat::bf16, KvFormat::v32, KvFormat::v4};

TEST(SparseDecode, EveryFormatWithPagesOfEverySize) {
  for (const KvFormat format : formats)
    for (const std::int64_t page : {1, 3, 64, 100}) {
      SparseCase c = decoding(format);
      c.page_size = page;
      c.num_pages = 400 / page + 1;
      c.cache_padding = page % 2 == 0 ? 64 : 0;
      expect_right(c);
    }
}

TEST(SparseDecode, EveryInstructionSet) {
  for (const KernelTable* kernels : usable_kernels()) {
    setenv("FLASHMLA_CPU_ISA", kernels->name, 1);
    for (const KvFormat format : formats)
      expect_right(decoding(format));
  }
  unsetenv("FLASHMLA_CPU_ISA");
}

TEST(SparseDecode, ListLengthsCount) {
  for (const std::int64_t topk : {1, 2, 63, 64, 65, 200}) {
    SparseCase c = decoding(KvFormat::v32);
    c.batch = 9;
    c.topk = topk;
    c.topk_length = true;
    c.empty_lists = true;
    expect_right(c);
  }
}

// topk_length has one number for each request, not for each query token.
TEST(SparseDecode, LengthsBelongToRequests) {
  SparseCase c = decoding(KvFormat::bf16);
  c.batch = 5;
  c.query_tokens = 7;
  c.topk_length = true;
  c.poisoned_share = 0.5;
  expect_right(c);
}

TEST(SparseDecode, TheExtraCacheHasItsOwnPagesListsAndLengths) {
  for (const KvFormat format : formats)
    for (const bool lengths : {false, true}) {
      SparseCase c = decoding(format);
      c.extra_topk = 90;
      c.extra_page_size = 7;
      c.extra_pages = 61;
      c.extra_topk_length = lengths;
      c.topk_length = lengths;
      c.empty_lists = lengths;
      expect_right(c);
    }
}

TEST(SparseDecode, SinksScaleAndStrides) {
  for (const std::int64_t heads : {1, 64, 65, 128}) {
    SparseCase c = decoding(KvFormat::v4);
    c.query_heads = heads;
    c.sink = true;
    c.softmax_scale = 0.1f;
    c.q_padding = 3;
    c.out_padding = 8;
    c.index_padding = 5;
    c.empty_lists = true;
    expect_right(c);
  }
}

TEST(SparseDecode, OtherQuantisersAreRead) {
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4}) {
    SparseCase c = decoding(format);
    c.other_scales = true;
    expect_right(c);
  }
}

// A single long list is cut among the workers; the sink is applied once.
TEST(SparseDecode, LongListsAreSplit) {
  for (const bool invariant : {false, true}) {
    SparseCase c = decoding(KvFormat::v32);
    c.batch = 1;
    c.query_tokens = 1;
    c.topk = 2500;
    c.num_pages = 60;
    c.extra_topk = 333;
    c.extra_page_size = 2;
    c.extra_pages = 200;
    c.sink = true;
    c.topk_length = true;
    c.batch_invariant = invariant;
    EXPECT_TRUE(expect_right(c).split);
  }
}

TEST(SparseDecode, ThreadsDoNotMatter) {
  const SparseCase c = decoding(KvFormat::v4);
  support::HostMemory memory;
  std::vector<std::vector<std::byte>> results;
  for (const int count : {1, 5}) {
    set_threads(count);
    support::run_case(c, memory, [&](support::SparseTensors& tensors, support::CaseResult& result) {
      support::run_library(tensors, memory, result);
      results.push_back(tensors.out.buffer.download());
    });
  }
  set_threads(0);
  EXPECT_TRUE(results[0] == results[1]);
}

TEST(SparseDecode, NoRequestsAndNoPages) {
  SparseCase c = decoding(KvFormat::v32);
  c.batch = 0;
  expect_right(c);
  c.batch = 2;
  c.num_pages = 0;
  expect_right(c);
}

TEST(SparsePrefill, IsRight) {
  for (const std::int64_t heads : {1, 16, 100}) {
    SparseCase c = prefill();
    c.query_heads = heads;
    c.sink = true;
    c.empty_lists = true;
    expect_right(c);
    c.qk_dim = 512;
    c.topk_length = true;
    c.q_padding = 64;
    c.cache_padding = 8;
    c.out_padding = 1;
    c.index_padding = 3;
    c.softmax_scale = 0.2f;
    expect_right(c);
    c.max_logits = false;
    expect_right(c);
  }
}

TEST(SparsePrefill, MergesLargestScoresOfSplitLists) {
  SparseCase c = prefill();
  c.query_tokens = 1;
  c.query_heads = 2;
  c.topk = 3000;
  c.num_pages = 4000;
  c.sink = true;
  EXPECT_TRUE(expect_right(c).split);
}

TEST(SparsePrefill, NoQueryTokens) {
  SparseCase c = prefill();
  c.query_tokens = 0;
  expect_right(c);
}

}  // namespace
}  // namespace flashmla::backends::cpu
