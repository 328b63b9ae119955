// Every tensor of schedule() and run() is wrong once, through C++ and through C. The error names
// the tensor, nothing is written, and the plan serves a valid call afterwards.
#include <gtest/gtest.h>

#include <limits>

#include "as_c.h"
#include "expect_rejected.h"
#include "small_call.h"

namespace flashmla::tests {
namespace {

struct WrongTensor {
  const char* argument;
  const char* given;
  void (*spoil)(SmallCall&);
};

void PrintTo(const WrongTensor& wrong, std::ostream* stream) {
  *stream << wrong.argument << " given " << wrong.given;
}

class WrongRun : public testing::TestWithParam<WrongTensor> {};

TEST_P(WrongRun, IsRejectedByNameAndWritesNothing) {
  SmallCall call;
  Plan plan = make_plan(call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule(call.lengths, plan_memory.workspace());
  const CPlan c_plan(call.problem);
  EXPECT_EQ(c_plan.schedule(call.lengths, plan_memory.workspace()), FLASHMLA_OK);

  const Inputs sound_inputs = call.inputs;
  const Outputs sound_outputs = call.outputs;
  GetParam().spoil(call);
  expect_rejected([&] { run(plan, call.inputs, call.outputs, run_memory.workspace()); },
                  GetParam().argument, GetParam().given);
  expect_c_rejected(c_plan.run(call.inputs, call.outputs, run_memory.workspace()),
                    GetParam().argument, GetParam().given);
  EXPECT_TRUE(call.nothing_written());

  EXPECT_EQ(c_plan.run(sound_inputs, sound_outputs, run_memory.workspace()), FLASHMLA_OK);
  run(plan, sound_inputs, sound_outputs, run_memory.workspace());
  EXPECT_TRUE(call.all_written());
}

constexpr Device other_device{DeviceType::cuda, 1};

INSTANTIATE_TEST_SUITE_P(
    Inputs, WrongRun,
    testing::Values(
        WrongTensor{"q", "no tensor", [](SmallCall& c) { c.inputs.q = {}; }},
        WrongTensor{"q", "null", [](SmallCall& c) { c.inputs.q.data = nullptr; }},
        WrongTensor{
            "q", "misaligned",
            [](SmallCall& c) { c.inputs.q.data = reinterpret_cast<char*>(c.inputs.q.data) + 1; }},
        WrongTensor{"q", "fp16", [](SmallCall& c) { c.inputs.q.dtype = DType::fp16; }},
        WrongTensor{"q", "cuda:1", [](SmallCall& c) { c.inputs.q.device = other_device; }},
        WrongTensor{"q", "[2, 2, 4]", [](SmallCall& c) { c.inputs.q.rank = 3; }},
        WrongTensor{"q", "[1, 2, 4, 576]", [](SmallCall& c) { c.inputs.q.shape[0] = 1; }},
        WrongTensor{"q", "[2, 1, 4, 576]", [](SmallCall& c) { c.inputs.q.shape[1] = 1; }},
        WrongTensor{"q", "[2, 2, 3, 576]", [](SmallCall& c) { c.inputs.q.shape[2] = 3; }},
        WrongTensor{"q", "[2, 2, 4, 512]", [](SmallCall& c) { c.inputs.q.shape[3] = 512; }},
        WrongTensor{"q", "[2, 2, -4, 576]", [](SmallCall& c) { c.inputs.q.shape[2] = -4; }},
        WrongTensor{"q", "strides", [](SmallCall& c) { c.inputs.q.strides[3] = 2; }},
        WrongTensor{"q", "strides", [](SmallCall& c) { c.inputs.q.strides[0] = -1; }},
        WrongTensor{
            "q", "strides",
            [](SmallCall& c) { c.inputs.q.strides[1] = std::numeric_limits<std::int64_t>::max(); }},
        WrongTensor{"q", "rank 9", [](SmallCall& c) { c.inputs.q.rank = 9; }},
        WrongTensor{"kv_cache", "no tensor", [](SmallCall& c) { c.inputs.kv_cache = {}; }},
        WrongTensor{"kv_cache", "fp16",
                    [](SmallCall& c) { c.inputs.kv_cache.dtype = DType::fp16; }},
        WrongTensor{"kv_cache", "[7, 8, 1, 576]",
                    [](SmallCall& c) { c.inputs.kv_cache.shape[1] = 8; }},
        WrongTensor{"kv_cache", "[7, 16, 2, 576]",
                    [](SmallCall& c) { c.inputs.kv_cache.shape[2] = 2; }},
        WrongTensor{"kv_cache", "[7, 16, 1, 575]",
                    [](SmallCall& c) { c.inputs.kv_cache.shape[3] = 575; }},
        WrongTensor{"kv_cache", "strides", [](SmallCall& c) { c.inputs.kv_cache.strides[3] = 7; }},
        WrongTensor{"kv_cache", "cuda:1",
                    [](SmallCall& c) { c.inputs.kv_cache.device = other_device; }},
        WrongTensor{"block_table", "no tensor", [](SmallCall& c) { c.inputs.block_table = {}; }},
        WrongTensor{"block_table", "i64",
                    [](SmallCall& c) { c.inputs.block_table.dtype = DType::i64; }},
        WrongTensor{"block_table", "[1, 3]",
                    [](SmallCall& c) { c.inputs.block_table.shape[0] = 1; }},
        WrongTensor{"block_table", "strides",
                    [](SmallCall& c) { c.inputs.block_table.strides[1] = 2; }},
        WrongTensor{"block_table", "pages",
                    [](SmallCall& c) { c.inputs.block_table.shape[1] = 1LL << 31; }},
        WrongTensor{"attn_sink", "[3]", [](SmallCall& c) { c.inputs.attn_sink.shape[0] = 3; }},
        WrongTensor{"attn_sink", "bf16",
                    [](SmallCall& c) { c.inputs.attn_sink.dtype = DType::bf16; }},
        WrongTensor{"attn_sink", "strides",
                    [](SmallCall& c) { c.inputs.attn_sink.strides[0] = 2; }},
        WrongTensor{
            "softmax_scale", "nan",
            [](SmallCall& c) { c.inputs.softmax_scale = std::numeric_limits<float>::quiet_NaN(); }},
        WrongTensor{
            "softmax_scale", "inf",
            [](SmallCall& c) { c.inputs.softmax_scale = std::numeric_limits<float>::infinity(); }},
        WrongTensor{"indices", "i32", [](SmallCall& c) { c.inputs.indices = c.lengths; }},
        WrongTensor{"topk_length", "i32", [](SmallCall& c) { c.inputs.topk_length = c.lengths; }},
        WrongTensor{"extra_kv_cache", "bf16",
                    [](SmallCall& c) { c.inputs.extra_kv_cache = c.inputs.kv_cache; }},
        WrongTensor{"extra_indices", "i32",
                    [](SmallCall& c) { c.inputs.extra_indices = c.lengths; }},
        WrongTensor{"extra_topk_length", "i32",
                    [](SmallCall& c) { c.inputs.extra_topk_length = c.lengths; }},
        WrongTensor{"query_offsets", "i32",
                    [](SmallCall& c) { c.inputs.query_offsets = c.lengths; }},
        WrongTensor{"q_rotary", "bf16", [](SmallCall& c) { c.inputs.q_rotary = c.inputs.q; }},
        WrongTensor{"kv_scale", "fp32",
                    [](SmallCall& c) { c.inputs.kv_scale = c.inputs.attn_sink; }}));

INSTANTIATE_TEST_SUITE_P(
    Outputs, WrongRun,
    testing::Values(
        WrongTensor{"out", "no tensor", [](SmallCall& c) { c.outputs.out = {}; }},
        WrongTensor{"out", "fp32", [](SmallCall& c) { c.outputs.out.dtype = DType::fp32; }},
        WrongTensor{"out", "[2, 2, 4, 576]", [](SmallCall& c) { c.outputs.out.shape[3] = 576; }},
        WrongTensor{"out", "strides", [](SmallCall& c) { c.outputs.out.strides[2] = 511; }},
        WrongTensor{"out", "strides", [](SmallCall& c) { c.outputs.out.strides[0] = 0; }},
        WrongTensor{"out", "cuda:1", [](SmallCall& c) { c.outputs.out.device = other_device; }},
        WrongTensor{"lse", "no tensor", [](SmallCall& c) { c.outputs.lse = {}; }},
        WrongTensor{"lse", "bf16", [](SmallCall& c) { c.outputs.lse.dtype = DType::bf16; }},
        WrongTensor{
            "lse", "[2, 2, 4]",
            [](SmallCall& c) { std::swap(c.outputs.lse.shape[1], c.outputs.lse.shape[2]); }},
        WrongTensor{"lse", "strides", [](SmallCall& c) { c.outputs.lse.strides[0] = 9; }},
        WrongTensor{"max_logits", "fp32",
                    [](SmallCall& c) { c.outputs.max_logits = c.outputs.lse; }},
        WrongTensor{"lse_base", "2",
                    [](SmallCall& c) { c.outputs.lse_base = static_cast<LseBase>(2); }},
        WrongTensor{"empty_lse", "-1",
                    [](SmallCall& c) { c.outputs.empty_lse = static_cast<EmptyLse>(-1); }}));

class WrongSchedule : public testing::TestWithParam<WrongTensor> {};

TEST_P(WrongSchedule, IsRejectedByNameAndKeepsTheEarlierSchedule) {
  SmallCall call;
  Plan plan = make_plan(call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule(call.lengths, plan_memory.workspace());
  const CPlan c_plan(call.problem);

  GetParam().spoil(call);
  expect_rejected([&] { plan.schedule(call.lengths, plan_memory.workspace()); },
                  GetParam().argument, GetParam().given);
  expect_c_rejected(c_plan.schedule(call.lengths, plan_memory.workspace()), GetParam().argument,
                    GetParam().given);
  EXPECT_EQ(plan.view().lengths[0], 40);
  run(plan, call.inputs, call.outputs, run_memory.workspace());
  EXPECT_TRUE(call.all_written());
}

INSTANTIATE_TEST_SUITE_P(
    Lengths, WrongSchedule,
    testing::Values(
        WrongTensor{"lengths", "no tensor", [](SmallCall& c) { c.lengths = {}; }},
        WrongTensor{"lengths", "i64", [](SmallCall& c) { c.lengths.dtype = DType::i64; }},
        WrongTensor{"lengths", "[1]", [](SmallCall& c) { c.lengths.shape[0] = 1; }},
        WrongTensor{"lengths", "strides", [](SmallCall& c) { c.lengths.strides[0] = 2; }},
        WrongTensor{"lengths", "cuda:1", [](SmallCall& c) { c.lengths.device = other_device; }},
        WrongTensor{"lengths", "-1 tokens for request 1",
                    [](SmallCall& c) { c.length_values[1] = -1; }},
        WrongTensor{"lengths", "49 tokens for request 0",
                    [](SmallCall& c) { c.length_values[0] = 49; }}));

TEST(Run, NeedsAScheduleAndItsWorkspaces) {
  SmallCall call;
  Plan plan = make_plan(call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  const auto run_with = [&](Workspace workspace) {
    run(plan, call.inputs, call.outputs, workspace);
  };
  expect_rejected([&] { run_with(run_memory.workspace()); }, "plan", "without a schedule");
  expect_rejected([&] { plan.view(); }, "plan", "without a schedule");
  expect_rejected([&] { (void)plan.status(); }, "plan", "without a schedule");

  const auto schedule_with = [&](Workspace workspace) { plan.schedule(call.lengths, workspace); };
  Workspace small = plan_memory.workspace();
  --small.bytes;
  expect_rejected([&] { schedule_with(small); }, "plan_workspace", "bytes");
  Workspace askew = plan_memory.workspace();
  askew.data = static_cast<char*>(askew.data) + 16;
  expect_rejected([&] { schedule_with(askew); }, "plan_workspace", "misaligned");
  expect_rejected([&] { schedule_with({nullptr, plan.plan_workspace_bytes()}); }, "plan_workspace",
                  "null");
  EXPECT_FALSE(plan.scheduled());

  schedule_with(plan_memory.workspace());
  small = run_memory.workspace();
  --small.bytes;
  expect_rejected([&] { run_with(small); }, "run_workspace", "bytes");
  EXPECT_TRUE(call.nothing_written());
}

}  // namespace
}  // namespace flashmla::tests
