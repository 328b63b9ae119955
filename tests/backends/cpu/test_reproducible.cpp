// Bits do not depend on the number of threads, nor on the run, nor (in batch-invariant mode) on the
// other requests.
#include <gtest/gtest.h>

#include <thread>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/thread_pool.h"
#include "tests/backends/cpu/dense_case.h"

namespace flashmla::backends::cpu {
namespace {

class Reproducible : public ::testing::Test {
 protected:
  void TearDown() override { set_threads(0); }
  const unsigned seed_ = std::random_device{}();
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, ::testing::Message() << "seed " << seed_};
};

TEST_F(Reproducible, WithAnyNumberOfThreads) {
  DenseCase dense(
      {.lengths = {1500, 3, 0, 777}, .query_tokens = 2, .query_heads = 20, .causal = true}, seed_);
  set_threads(1);
  const CaseResult one = dense.run();
  dense.expect_right(one);
  for (const int count : {2, 3, 7}) {
    set_threads(count);
    for (int repetition = 0; repetition < 3; ++repetition)
      EXPECT_EQ(dense.run(), one) << count << " threads";
  }
}

TEST_F(Reproducible, BatchInvariantModeIgnoresTheOtherRequests) {
  // A batch of one request would get other random tensors from the same seed. So the call with
  // request 0 alone reads the tensors of the batch.
  DenseCase batch({.lengths = {3000, 100, 900, 5}, .batch_invariant = true}, seed_);
  const CaseResult together = batch.run();
  DenseCase pair({.lengths = {3000, 100, 900, 5}, .batch_invariant = true}, seed_);
  for (std::int64_t r = 1; r < 4; ++r)
    for (std::int64_t page = 0; page < pair.table_width(); ++page)
      pair.table()[r * pair.table_width() + page] = pair.table()[0];
  const CaseResult others_changed = pair.run();
  EXPECT_TRUE(std::equal(together.out.begin(), together.out.begin() + 16 * 512,
                         others_changed.out.begin()));

  PlannedProblem alone{.problem = batch.problem(), .params = {}, .computation = nullptr};
  alone.problem.batch = 1;
  alone.computation = cpu_backend().decide(alone.problem);
  alone.params = alone.computation->params;
  AlignedMemory plan_memory(schedule::PlanLayout(alone.params).bytes);
  AlignedMemory run_memory(alone.computation->partials.bytes());
  alone.plan_workspace = plan_memory.data();
  std::int32_t length = 3000;
  cpu_backend().schedule(alone, {&length, DType::i32, {1}}, nullptr);
  Inputs inputs = batch.inputs();
  inputs.q.shape[0] = 1;
  inputs.block_table.shape[0] = 1;
  std::vector<std::uint16_t> out(16 * 512, 0x7fff);
  std::vector<float> lse(16, std::nanf(""));
  Outputs outputs;
  outputs.out = {out.data(), DType::bf16, {1, 1, 16, 512}};
  outputs.lse = {lse.data(), DType::fp32, {1, 16, 1}};
  alone.computation->run(alone, inputs, outputs, 1.0f / 24, run_memory.data(), nullptr);
  EXPECT_TRUE(std::equal(out.begin(), out.end(), together.out.begin()));
}

TEST_F(Reproducible, ConcurrentRunsDoNotDisturbEachOther) {
  DenseCase dense({.lengths = {900, 400}}, seed_);
  DenseCase other({.lengths = {300, 1200, 64}, .query_heads = 40, .type = DType::fp16}, seed_ + 1);
  set_threads(3);
  const CaseResult expected = dense.run();
  const CaseResult other_expected = other.run();
  std::vector<CaseResult> results(10);
  std::vector<CaseResult> other_results(10);
  std::thread first([&] {
    for (CaseResult& result : results)
      result = dense.run();
  });
  std::thread second([&] {
    for (CaseResult& result : other_results)
      result = other.run();
  });
  first.join();
  second.join();
  for (const CaseResult& result : results)
    EXPECT_EQ(result, expected);
  for (const CaseResult& result : other_results)
    EXPECT_EQ(result, other_expected);
}

}  // namespace
}  // namespace flashmla::backends::cpu
