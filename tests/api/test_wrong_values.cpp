// Arguments that are no tensors, far outside their ranges: numbers, enumerators, workspaces, plans,
// indices.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "as_c.h"
#include "core/text.h"
#include "expect_rejected.h"
#include "small_call.h"
#include "sparse_call.h"

namespace flashmla::tests {
namespace {

constexpr std::int64_t max_value = std::numeric_limits<std::int64_t>::max();

// Every number of a problem, far outside its range, in every kind of call.
TEST(WrongValues, NumbersOfProblems) {
  const std::pair<const char*, std::int64_t Problem::*> numbers[] = {
      {"batch", &Problem::batch},
      {"query_tokens", &Problem::query_tokens},
      {"query_heads", &Problem::query_heads},
      {"kv_heads", &Problem::kv_heads},
      {"qk_dim", &Problem::qk_dim},
      {"v_dim", &Problem::v_dim},
      {"page_size", &Problem::page_size},
      {"max_pages", &Problem::max_pages},
      {"topk", &Problem::topk},
      {"extra_topk", &Problem::extra_topk},
      {"extra_page_size", &Problem::extra_page_size}};
  const Problem problems[] = {SmallCall().problem, SparseCall().problem,
                              SparseCall(AttentionKind::sparse_prefill).problem};
  for (const Problem& sound : problems)
    for (const auto& [name, member] : numbers)
      for (const std::int64_t value : {std::int64_t{-1}, -max_value - 1, max_value,
                                       std::int64_t{1} << 31, std::int64_t{1} << 32}) {
        SCOPED_TRACE(text(name_of(sound.kind), " of ", name, " ", value));
        Problem problem = sound;
        problem.*member = value;
        expect_rejected([&] { make_plan(problem); }, name, std::to_string(value));
        expect_rejected([&] { (void)refusal("cpu", problem); }, name, std::to_string(value));
        const flashmla_problem c = c_problem(problem);
        flashmla_plan* plan = nullptr;
        expect_c_rejected(flashmla_plan_create(&c, &plan), name, std::to_string(value));
        EXPECT_EQ(plan, nullptr);
        expect_c_rejected(flashmla_refusal("cpu", &c, nullptr, 0, nullptr), name,
                          std::to_string(value));
      }
}

TEST(WrongValues, EnumeratorsAndSwitchesOfProblems) {
  const std::pair<const char*, std::int32_t flashmla_problem::*> fields[] = {
      {"kind", &flashmla_problem::kind},
      {"device_type", &flashmla_problem::device_type},
      {"device_index", &flashmla_problem::device_index},
      {"query_type", &flashmla_problem::query_type},
      {"kv_format", &flashmla_problem::kv_format},
      {"max_workers", &flashmla_problem::max_workers},
      {"causal", &flashmla_problem::causal},
      {"ragged_queries", &flashmla_problem::ragged_queries},
      {"split_query", &flashmla_problem::split_query},
      {"scaled_cache", &flashmla_problem::scaled_cache},
      {"batch_invariant", &flashmla_problem::batch_invariant},
      {"reserved", &flashmla_problem::reserved}};
  for (const auto& [name, member] : fields)
    for (const std::int32_t value : {-1, 70000, std::numeric_limits<std::int32_t>::min()}) {
      flashmla_problem problem = c_problem(SmallCall().problem);
      problem.*member = value;
      flashmla_plan* plan = nullptr;
      expect_c_rejected(flashmla_plan_create(&problem, &plan), name, std::to_string(value));
    }
}

TEST(WrongValues, WorkspacesOfC) {
  SmallCall call;
  const CPlan plan(call.problem);
  std::size_t plan_bytes = 0;
  std::size_t run_bytes = 0;
  ASSERT_EQ(flashmla_plan_workspace_bytes(plan.get(), &plan_bytes, &run_bytes), FLASHMLA_OK);
  const AlignedBytes plan_memory(plan_bytes);
  const AlignedBytes run_memory(run_bytes);
  const auto expect_each_wrong = [](const AlignedBytes& memory, auto call_with) {
    const Workspace sound = memory.workspace();
    auto* const askew = static_cast<std::byte*>(sound.data) + 8;
    expect_c_rejected(call_with({nullptr, sound.bytes}), "workspace", "null");
    expect_c_rejected(call_with({askew, sound.bytes}), "workspace", "misaligned");
    expect_c_rejected(call_with({sound.data, sound.bytes - 1}), "workspace", "bytes");
    expect_c_rejected(call_with({sound.data, 0}), "workspace", "0 bytes");
    EXPECT_EQ(call_with(sound), FLASHMLA_OK);
  };
  expect_each_wrong(plan_memory,
                    [&](Workspace workspace) { return plan.schedule(call.lengths, workspace); });
  expect_each_wrong(plan_memory, [&](Workspace workspace) {
    return flashmla_plan_attach(plan.get(), workspace.data, workspace.bytes);
  });
  expect_each_wrong(run_memory, [&](Workspace workspace) {
    return plan.run(call.inputs, call.outputs, workspace);
  });
}

TEST(WrongValues, PlansThatWereMovedFrom) {
  SmallCall call;
  Plan plan = make_plan(call.problem);
  const AlignedBytes memory(plan.plan_workspace_bytes());
  const Plan taken = std::move(plan);
  EXPECT_FALSE(taken.scheduled());
  // NOLINTBEGIN(bugprone-use-after-move): what it is about
  const std::function<void()> calls[] = {
      [&] { (void)plan.problem(); },
      [&] { (void)plan.backend(); },
      [&] { (void)plan.plan_workspace_bytes(); },
      [&] { (void)plan.run_workspace_bytes(); },
      [&] { plan.schedule(call.lengths, memory.workspace()); },
      [&] { plan.attach(memory.workspace()); },
      [&] { (void)plan.scheduled(); },
      [&] { (void)plan.view(); },
      [&] { (void)plan.status(); },
      [&] { (void)plan.describe(); },
      [&] { run(plan, call.inputs, call.outputs, memory.workspace()); }};
  // NOLINTEND(bugprone-use-after-move)
  for (const auto& each : calls)
    expect_rejected(each, "plan", "moved from");
}

TEST(WrongValues, OfTheOtherFunctions) {
  std::int64_t bytes = 0;
  expect_c_rejected(flashmla_token_bytes(-1, 576, &bytes), "kv_format", "-1");
  expect_c_rejected(flashmla_token_bytes(FLASHMLA_KV_BF16, -1, &bytes), "qk_dim", "-1");
  expect_c_rejected(flashmla_token_bytes(FLASHMLA_KV_BF16, max_value, &bytes), "qk_dim",
                    std::to_string(max_value));
  expect_c_rejected(flashmla_token_bytes(FLASHMLA_KV_BF16, 576, nullptr), "bytes", "null");
  for (const int threads : {-1, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()}) {
    expect_rejected([&] { set_cpu_threads(threads); }, "threads", std::to_string(threads));
    expect_c_rejected(flashmla_set_cpu_threads(threads), "threads", std::to_string(threads));
  }
  expect_rejected([] { (void)refusal("", SmallCall().problem); }, "backend", "\"\"");
  for (const std::int32_t index : {-1, std::numeric_limits<std::int32_t>::max()}) {
    std::int32_t count = 0;
    const std::string given = std::to_string(index);
    expect_c_rejected(flashmla_backend_name(index, nullptr, 0, nullptr), "backend", given);
    expect_c_rejected(flashmla_backend_unavailable(index, nullptr, 0, nullptr), "backend", given);
    expect_c_rejected(flashmla_backend_device_count(index, &count), "backend", given);
    expect_c_rejected(flashmla_backend_device(index, 0, nullptr, 0, nullptr), "backend", given);
  }
}

// describe() of a view with an impossible rank does not read dimensions that do not exist.
TEST(WrongValues, ViewsOfImpossibleRankAreDescribed) {
  TensorView view(nullptr, DType::bf16, {2, 3});
  for (const std::int32_t rank : {-1, 6, std::numeric_limits<std::int32_t>::max()}) {
    view.rank = rank;
    EXPECT_THAT(describe(view), testing::HasSubstr(std::to_string(rank)));
    EXPECT_LE(view.element_count(), 6);
  }
}

}  // namespace
}  // namespace flashmla::tests
