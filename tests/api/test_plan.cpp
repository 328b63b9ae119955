// Plans can be moved, printed and used again. run() accepts some sizes that differ from those of
// the plan.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "as_c.h"
#include "expect_rejected.h"
#include "small_call.h"

namespace flashmla::tests {
namespace {

using testing::HasSubstr;

TEST(Plan, DescribesItselfBeforeAndAfterScheduling) {
  SmallCall call;
  Plan plan = make_plan(call.problem);
  EXPECT_THAT(plan.describe(), HasSubstr("dense_decode bf16/bf16 b=2 s_q=2 h_q=4"));
  EXPECT_THAT(plan.describe(), HasSubstr(", tiles of 8 rows, 128 workers\n"));
  EXPECT_THAT(plan.describe(), Not(HasSubstr("worker ")));
  const AlignedBytes memory(plan.plan_workspace_bytes());
  plan.schedule(call.lengths, memory.workspace());
  EXPECT_THAT(plan.describe(), HasSubstr(": requests 0"));
}

TEST(Plan, MovesWithItsSchedule) {
  SmallCall call;
  Plan first = make_plan(call.problem);
  const AlignedBytes plan_memory(first.plan_workspace_bytes());
  const AlignedBytes run_memory(first.run_workspace_bytes());
  first.schedule(call.lengths, plan_memory.workspace());
  const Plan second = std::move(first);
  ASSERT_TRUE(second.scheduled());
  run(second, call.inputs, call.outputs, run_memory.workspace());
  EXPECT_TRUE(call.all_written());
  EXPECT_EQ(second.status(), 0);
}

TEST(Plan, KeepsItsOwnCopyOfTheLengths) {
  SmallCall call;
  Planned planned(call.problem);
  planned.schedule(call.lengths);
  planned.run(call);
  const auto expected = call.out;
  call.length_values = {1 << 30, -5};
  planned.run(call);
  EXPECT_EQ(call.out, expected);
}

TEST(Plan, CanBeScheduledAgain) {
  SmallCall call;
  Planned planned(call.problem);
  planned.schedule(call.lengths);
  planned.run(call);
  const auto before = call.out;
  call.length_values = {40, 0};
  planned.schedule(call.lengths);
  planned.run(call);
  const std::size_t half = call.out.size() / 2;
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + half, call.out.begin()));
  EXPECT_THAT(std::vector(call.out.begin() + half, call.out.end()), testing::Each(0));
  EXPECT_TRUE(std::isinf(call.lse[8]));
}

// Another plan of the same problem runs with the schedule in this memory.
TEST(Plan, TakesAScheduleThatAnotherMade) {
  SmallCall call;
  SmallCall other;
  Plan plan = make_plan(call.problem);
  Plan attached = make_plan(call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule(call.lengths, plan_memory.workspace());
  run(plan, call.inputs, call.outputs, run_memory.workspace());
  EXPECT_THROW(run(attached, other.inputs, other.outputs, run_memory.workspace()), Error);
  Workspace small = plan_memory.workspace();
  --small.bytes;
  EXPECT_THROW(attached.attach(small), Error);
  EXPECT_FALSE(attached.scheduled());
  attached.attach(plan_memory.workspace());
  EXPECT_TRUE(attached.scheduled());
  run(attached, other.inputs, other.outputs, run_memory.workspace());
  EXPECT_EQ(call.out, other.out);
  EXPECT_EQ(call.lse, other.lse);
}

// A block table may be narrower than max_pages where it has all pages of the schedule's lengths.
// This holds for every call, for schedule() and attach(), and through C.
TEST(Plan, RefusesABlockTableThatIsTooNarrowForItsLengths) {
  SmallCall call;
  call.length_values = {17, 33};
  const CPlan c_plan(call.problem);
  Plan plan = make_plan(call.problem);
  Plan attached = make_plan(call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule(call.lengths, plan_memory.workspace());
  attached.attach(plan_memory.workspace());
  EXPECT_EQ(c_plan.schedule(call.lengths, plan_memory.workspace()), FLASHMLA_OK);
  const auto give_pages = [&](std::int64_t pages) {
    call.inputs.block_table = TensorView(call.block_table.data(), DType::i32, {2, pages}, {3, 1});
  };
  for (const std::int64_t pages : {0, 2, 1}) {
    give_pages(pages);
    for (Plan* p : {&plan, &attached, &plan})
      expect_rejected([&] { run(*p, call.inputs, call.outputs, run_memory.workspace()); },
                      "block_table", "for request 1 of 33 tokens");
    expect_c_rejected(c_plan.run(call.inputs, call.outputs, run_memory.workspace()), "block_table",
                      "for request 1 of 33 tokens");
  }
  EXPECT_TRUE(call.nothing_written());
  give_pages(3);
  run(plan, call.inputs, call.outputs, run_memory.workspace());
  EXPECT_TRUE(call.all_written());
  call.length_values = {0, 32};
  plan.schedule(call.lengths, plan_memory.workspace());
  give_pages(2);
  run(plan, call.inputs, call.outputs, run_memory.workspace());
  EXPECT_EQ(plan.status(), 0);
}

TEST(Plan, TakesABlockTableWithoutPagesForRequestsWithoutTokens) {
  SmallCall call;
  call.length_values = {0, 0};
  call.inputs.block_table = TensorView(call.block_table.data(), DType::i32, {2, 0}, {3, 1});
  Planned planned(call.problem);
  planned.schedule(call.lengths);
  planned.run(call);
  EXPECT_TRUE(call.all_written());
}

TEST(Plan, NamesTheFirstRequestWithAPageOutsideTheCache) {
  SmallCall call;
  Planned planned(call.problem);
  planned.schedule(call.lengths);
  call.block_table[4] = 7;
  planned.run(call);
  EXPECT_EQ(planned.plan.status(), 2);
  call.block_table[0] = -1;
  planned.run(call);
  EXPECT_EQ(planned.plan.status(), 1);
  call.block_table = {3, 1, 6, 0, 2, 999};
  planned.run(call);
  EXPECT_EQ(planned.plan.status(), 0);
}

TEST(Plan, ServesAnEmptyBatch) {
  Problem problem;
  problem.query_heads = 16;
  problem.max_pages = 4;
  Plan plan = make_plan(problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule(TensorView(nullptr, DType::i32, {0}), plan_memory.workspace());
  Inputs inputs;
  inputs.q = TensorView(nullptr, DType::bf16, {0, 1, 16, 576});
  inputs.kv_cache = TensorView(nullptr, DType::bf16, {0, 64, 1, 576});
  inputs.block_table = TensorView(nullptr, DType::i32, {0, 4});
  Outputs outputs;
  outputs.out = TensorView(nullptr, DType::bf16, {0, 1, 16, 512});
  outputs.lse = TensorView(nullptr, DType::fp32, {0, 16, 1});
  EXPECT_NO_THROW(run(plan, inputs, outputs, run_memory.workspace()));
  EXPECT_EQ(plan.status(), 0);
}

}  // namespace
}  // namespace flashmla::tests
