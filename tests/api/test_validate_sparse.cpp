// Every tensor of sparse decoding and sparse prefill is wrong once, through C++ and through C. The
// error names the tensor, nothing is written, and the plan serves a valid call afterwards.
#include <gtest/gtest.h>

#include <limits>

#include "as_c.h"
#include "expect_rejected.h"
#include "small_call.h"
#include "sparse_call.h"

namespace flashmla::tests {
namespace {

struct WrongTensor {
  const char* argument;
  const char* given;
  void (*spoil)(SparseCall&);
};

void PrintTo(const WrongTensor& wrong, std::ostream* stream) {
  *stream << wrong.argument << " given " << wrong.given;
}

void expect_refused_once(AttentionKind kind, const WrongTensor& wrong) {
  SparseCall call(kind);
  Plan plan = make_plan(call.problem);
  const CPlan c_plan(call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule({}, plan_memory.workspace());
  EXPECT_EQ(c_plan.schedule({}, plan_memory.workspace()), FLASHMLA_OK);

  const Inputs sound_inputs = call.inputs;
  const Outputs sound_outputs = call.outputs;
  wrong.spoil(call);
  expect_rejected([&] { run(plan, call.inputs, call.outputs, run_memory.workspace()); },
                  wrong.argument, wrong.given);
  expect_c_rejected(c_plan.run(call.inputs, call.outputs, run_memory.workspace()), wrong.argument,
                    wrong.given);
  EXPECT_TRUE(call.nothing_written());

  run(plan, sound_inputs, sound_outputs, run_memory.workspace());
  EXPECT_TRUE(call.all_written());
  EXPECT_EQ(c_plan.run(sound_inputs, sound_outputs, run_memory.workspace()), FLASHMLA_OK);
}

constexpr Device other_device{DeviceType::cuda, 1};
constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();

class WrongSparse : public testing::TestWithParam<WrongTensor> {};
TEST_P(WrongSparse, IsRejectedByNameAndWritesNothing) {
  expect_refused_once(AttentionKind::sparse_decode, GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Decode, WrongSparse,
    testing::Values(
        WrongTensor{"q", "no tensor", [](SparseCall& c) { c.inputs.q = {}; }},
        WrongTensor{"q", "null", [](SparseCall& c) { c.inputs.q.data = nullptr; }},
        WrongTensor{"q", "fp16", [](SparseCall& c) { c.inputs.q.dtype = DType::fp16; }},
        WrongTensor{"q", "[2, 2, 3]", [](SparseCall& c) { c.inputs.q.rank = 3; }},
        WrongTensor{"q", "[2, 2, 3, 512]", [](SparseCall& c) { c.inputs.q.shape[3] = 512; }},
        WrongTensor{"q", "strides", [](SparseCall& c) { c.inputs.q.strides[0] = huge; }},
        WrongTensor{"kv_cache", "no tensor", [](SparseCall& c) { c.inputs.kv_cache = {}; }},
        WrongTensor{"kv_cache", "bf16",
                    [](SparseCall& c) { c.inputs.kv_cache.dtype = DType::bf16; }},
        WrongTensor{"kv_cache", "[3, 2, 1, 656]",
                    [](SparseCall& c) { c.inputs.kv_cache.shape[1] = 2; }},
        WrongTensor{"kv_cache", "[3, 4, 1, 584]",
                    [](SparseCall& c) { c.inputs.kv_cache.shape[3] = 584; }},
        WrongTensor{"kv_cache", "stride 657",
                    [](SparseCall& c) { c.inputs.kv_cache.strides[1] = 657; }},
        WrongTensor{"kv_cache", "strides",
                    [](SparseCall& c) { c.inputs.kv_cache.strides[0] = -1; }},
        WrongTensor{"kv_cache", "pages",
                    [](SparseCall& c) {
                      c.inputs.kv_cache.shape[0] = 1LL << 31;
                      c.inputs.kv_cache.strides[0] = 0;
                    }},
        WrongTensor{"kv_cache", "cuda:1",
                    [](SparseCall& c) { c.inputs.kv_cache.device = other_device; }},
        WrongTensor{"block_table", "i32",
                    [](SparseCall& c) { c.inputs.block_table = c.inputs.topk_length; }},
        WrongTensor{"indices", "no tensor", [](SparseCall& c) { c.inputs.indices = {}; }},
        WrongTensor{"indices", "i64", [](SparseCall& c) { c.inputs.indices.dtype = DType::i64; }},
        WrongTensor{"indices", "[2, 2, 4]", [](SparseCall& c) { c.inputs.indices.shape[2] = 4; }},
        WrongTensor{"indices", "[2, 1, 5]", [](SparseCall& c) { c.inputs.indices.shape[1] = 1; }},
        WrongTensor{"indices", "[1, 2, 5]", [](SparseCall& c) { c.inputs.indices.shape[0] = 1; }},
        WrongTensor{"indices", "[2, 2]", [](SparseCall& c) { c.inputs.indices.rank = 2; }},
        WrongTensor{"indices", "strides", [](SparseCall& c) { c.inputs.indices.strides[2] = 2; }},
        WrongTensor{"indices", "cuda:1",
                    [](SparseCall& c) { c.inputs.indices.device = other_device; }},
        WrongTensor{"topk_length", "[3]", [](SparseCall& c) { c.inputs.topk_length.shape[0] = 3; }},
        WrongTensor{"topk_length", "fp32",
                    [](SparseCall& c) { c.inputs.topk_length.dtype = DType::fp32; }},
        WrongTensor{"topk_length", "strides",
                    [](SparseCall& c) { c.inputs.topk_length.strides[0] = 2; }},
        WrongTensor{"extra_kv_cache", "no tensor",
                    [](SparseCall& c) { c.inputs.extra_kv_cache = {}; }},
        WrongTensor{"extra_kv_cache", "[2, 2, 1, 584]",
                    [](SparseCall& c) { c.inputs.extra_kv_cache.shape[3] = 584; }},
        WrongTensor{"extra_kv_cache", "[2, 4, 1, 656]",
                    [](SparseCall& c) { c.inputs.extra_kv_cache.shape[1] = 4; }},
        WrongTensor{"extra_kv_cache", "bf16",
                    [](SparseCall& c) { c.inputs.extra_kv_cache.dtype = DType::bf16; }},
        WrongTensor{"extra_indices", "no tensor",
                    [](SparseCall& c) { c.inputs.extra_indices = {}; }},
        WrongTensor{"extra_indices", "[2, 2, 5]",
                    [](SparseCall& c) { c.inputs.extra_indices.shape[2] = 5; }},
        WrongTensor{"extra_topk_length", "[1]",
                    [](SparseCall& c) { c.inputs.extra_topk_length.shape[0] = 1; }},
        WrongTensor{"attn_sink", "[2]", [](SparseCall& c) { c.inputs.attn_sink.shape[0] = 2; }},
        WrongTensor{"softmax_scale", "nan",
                    [](SparseCall& c) {
                      c.inputs.softmax_scale = std::numeric_limits<float>::quiet_NaN();
                    }},
        WrongTensor{"q_rotary", "bf16", [](SparseCall& c) { c.inputs.q_rotary = c.inputs.q; }},
        WrongTensor{"out", "no tensor", [](SparseCall& c) { c.outputs.out = {}; }},
        WrongTensor{"out", "[2, 2, 3, 576]", [](SparseCall& c) { c.outputs.out.shape[3] = 576; }},
        WrongTensor{"out", "strides", [](SparseCall& c) { c.outputs.out.strides[1] = 0; }},
        WrongTensor{
            "lse", "[2, 2, 3]",
            [](SparseCall& c) { std::swap(c.outputs.lse.shape[1], c.outputs.lse.shape[2]); }},
        WrongTensor{"max_logits", "fp32",
                    [](SparseCall& c) { c.outputs.max_logits = c.outputs.lse; }}));

class WrongPrefill : public testing::TestWithParam<WrongTensor> {};
TEST_P(WrongPrefill, IsRejectedByNameAndWritesNothing) {
  expect_refused_once(AttentionKind::sparse_prefill, GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Prefill, WrongPrefill,
    testing::Values(
        WrongTensor{"q", "[4, 3, 512]", [](SparseCall& c) { c.inputs.q.shape[2] = 512; }},
        WrongTensor{"q", "[3, 3, 576]", [](SparseCall& c) { c.inputs.q.shape[0] = 3; }},
        WrongTensor{"q", "strides", [](SparseCall& c) { c.inputs.q.strides[2] = 2; }},
        WrongTensor{"kv_cache", "no tensor", [](SparseCall& c) { c.inputs.kv_cache = {}; }},
        WrongTensor{"kv_cache", "u8", [](SparseCall& c) { c.inputs.kv_cache.dtype = DType::u8; }},
        WrongTensor{"kv_cache", "[12, 2, 576]",
                    [](SparseCall& c) { c.inputs.kv_cache.shape[1] = 2; }},
        WrongTensor{"kv_cache", "[12, 1]", [](SparseCall& c) { c.inputs.kv_cache.rank = 2; }},
        WrongTensor{"kv_cache", "strides",
                    [](SparseCall& c) { c.inputs.kv_cache.strides[0] = huge; }},
        WrongTensor{"indices", "[4, 1, 6]", [](SparseCall& c) { c.inputs.indices.shape[2] = 6; }},
        WrongTensor{"indices", "[4, 2, 5]", [](SparseCall& c) { c.inputs.indices.shape[1] = 2; }},
        WrongTensor{"indices", "[1, 1, 5]", [](SparseCall& c) { c.inputs.indices.shape[0] = 1; }},
        WrongTensor{"topk_length", "[1]", [](SparseCall& c) { c.inputs.topk_length.shape[0] = 1; }},
        WrongTensor{"extra_kv_cache", "bf16",
                    [](SparseCall& c) { c.inputs.extra_kv_cache = c.inputs.kv_cache; }},
        WrongTensor{"extra_indices", "i32",
                    [](SparseCall& c) { c.inputs.extra_indices = c.inputs.indices; }},
        WrongTensor{"extra_topk_length", "i32",
                    [](SparseCall& c) { c.inputs.extra_topk_length = c.inputs.topk_length; }},
        WrongTensor{"block_table", "i32",
                    [](SparseCall& c) { c.inputs.block_table = c.inputs.topk_length; }},
        WrongTensor{"attn_sink", "rank 9", [](SparseCall& c) { c.inputs.attn_sink.rank = 9; }},
        WrongTensor{"out", "[4, 3, 576]", [](SparseCall& c) { c.outputs.out.shape[2] = 576; }},
        WrongTensor{"out", "strides", [](SparseCall& c) { c.outputs.out.strides[0] = 1; }},
        WrongTensor{
            "lse", "[3, 4]",
            [](SparseCall& c) { std::swap(c.outputs.lse.shape[0], c.outputs.lse.shape[1]); }},
        WrongTensor{"max_logits", "[4, 2]",
                    [](SparseCall& c) { c.outputs.max_logits.shape[1] = 2; }},
        WrongTensor{"max_logits", "bf16",
                    [](SparseCall& c) { c.outputs.max_logits.dtype = DType::bf16; }},
        WrongTensor{"max_logits", "strides",
                    [](SparseCall& c) { c.outputs.max_logits.strides[0] = 4; }}));

TEST(SparseSchedule, TakesNoLengths) {
  SparseCall call;
  Plan plan = make_plan(call.problem);
  const CPlan c_plan(call.problem);
  const AlignedBytes memory(plan.plan_workspace_bytes());
  expect_rejected([&] { plan.schedule(call.inputs.topk_length, memory.workspace()); }, "lengths",
                  "i32[2]");
  expect_c_rejected(c_plan.schedule(call.inputs.topk_length, memory.workspace()), "lengths",
                    "i32[2]");
  EXPECT_FALSE(plan.scheduled());
}

TEST(SparseRun, WithoutTheExtraCacheItsTensorsAreRejected) {
  SparseCall call;
  call.problem.extra_topk = call.problem.extra_page_size = 0;
  Plan plan = make_plan(call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule({}, plan_memory.workspace());
  const auto run_it = [&] { run(plan, call.inputs, call.outputs, run_memory.workspace()); };
  expect_rejected(run_it, "extra_kv_cache", "i8");
  call.inputs.extra_kv_cache = {};
  expect_rejected(run_it, "extra_indices", "i32");
  call.inputs.extra_indices = {};
  expect_rejected(run_it, "extra_topk_length", "i32");
  call.inputs.extra_topk_length = {};
  EXPECT_NO_THROW(run_it());
}

}  // namespace
}  // namespace flashmla::tests
