// The query in two parts: a call computes the bits of the same call with the parts in one tensor.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "as_c.h"
#include "expect_rejected.h"
#include "small_call.h"

namespace flashmla::tests {
namespace {

constexpr std::int64_t latent = 512;
constexpr std::int64_t rotary = 64;

// The call, whose query's last 64 columns move to a tensor of their own; NaN takes their place.
struct SplitCall : SmallCall {
  std::vector<std::uint16_t> moved;

  SplitCall() {
    problem.split_query = true;
    const std::int64_t row_stride = rotary + 8;
    moved.assign(static_cast<std::size_t>(2 * 2 * 4 * row_stride), nan_bits);
    for (std::int64_t row = 0; row < 2 * 2 * 4; ++row) {
      const auto first = q.begin() + row * 576 + latent;
      std::copy_n(first, rotary, moved.begin() + row * row_stride);
      std::fill_n(first, rotary, nan_bits);
    }
    inputs.q.shape[3] = latent;
    inputs.q_rotary = {moved.data(),
                       DType::bf16,
                       {2, 2, 4, rotary},
                       {8 * row_stride, 4 * row_stride, row_stride, 1}};
  }
};

void compute(SmallCall& call) {
  Plan plan = make_plan(call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule(call.lengths, plan_memory.workspace());
  run(plan, call.inputs, call.outputs, run_memory.workspace());
}

TEST(SplitQuery, HasTheBitsOfOneTensor) {
  for (const bool causal : {false, true}) {
    SmallCall whole;
    SplitCall split;
    whole.problem.causal = split.problem.causal = causal;
    compute(whole);
    compute(split);
    EXPECT_EQ(split.out, whole.out);
    EXPECT_EQ(split.lse, whole.lse);
  }
}

TEST(SplitQuery, HasThemThroughC) {
  SmallCall whole;
  SplitCall split;
  compute(whole);
  const CPlan plan(split.problem);
  std::size_t plan_bytes = 0;
  std::size_t run_bytes = 0;
  ASSERT_EQ(flashmla_plan_workspace_bytes(plan.get(), &plan_bytes, &run_bytes), FLASHMLA_OK);
  const AlignedBytes plan_memory(plan_bytes);
  const AlignedBytes run_memory(run_bytes);
  ASSERT_EQ(plan.schedule(split.lengths, plan_memory.workspace()), FLASHMLA_OK);
  ASSERT_EQ(plan.run(split.inputs, split.outputs, run_memory.workspace()), FLASHMLA_OK)
      << flashmla_last_error();
  EXPECT_EQ(split.out, whole.out);
  EXPECT_EQ(split.lse, whole.lse);
}

TEST(SplitQuery, WrongPartsAreNamed) {
  SplitCall call;
  const Inputs sound = call.inputs;
  const auto expect_named = [&](const char* argument, const char* given, const auto& spoil) {
    call.inputs = sound;
    spoil(call.inputs);
    expect_rejected([&] { compute(call); }, argument, given);
    EXPECT_TRUE(call.nothing_written());
  };
  expect_named("q", "4, 576]", [](Inputs& in) { in.q.shape[3] = 576; });
  expect_named("q_rotary", "4, 32]", [](Inputs& in) { in.q_rotary.shape[3] = 32; });
  expect_named("q_rotary", "2, 3, 64]", [](Inputs& in) { in.q_rotary.shape[2] = 3; });
  expect_named("q_rotary", "dtype fp16", [](Inputs& in) { in.q_rotary.dtype = DType::fp16; });
  expect_named("q_rotary", "strides [", [](Inputs& in) { in.q_rotary.strides[3] = 2; });
  expect_named("q_rotary", "", [](Inputs& in) { in.q_rotary = {}; });
}

}  // namespace
}  // namespace flashmla::tests
