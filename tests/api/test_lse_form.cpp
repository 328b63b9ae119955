// Outputs::lse_base and empty_lse in every kind of call, through C++ and through C. lse and
// max_logits have the base of lse_base. lse of a query without tokens is the infinity of empty_lse.
// out depends on neither.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "as_c.h"
#include "expect_rejected.h"
#include "small_call.h"
#include "sparse_call.h"

namespace flashmla::tests {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

struct Results {
  std::vector<std::uint16_t> out;
  std::vector<float> lse;
  std::vector<float> max_logits;
};

// A problem of two requests. The second one has no tokens. The first one is split among workers
// where it is long.
struct DenseCall : SmallCall {
  std::vector<float> max_logits;

  explicit DenseCall(bool split) {
    const std::int64_t width = split ? 60 : 3;
    problem.max_pages = width;
    block_table.resize(static_cast<std::size_t>(2 * width));
    for (std::size_t i = 0; i < block_table.size(); ++i)
      block_table[i] = static_cast<std::int32_t>(i % 7);
    length_values = {split ? 900 : 40, 0};
    inputs.block_table = {block_table.data(), DType::i32, {2, width}};
  }
};

// Request 1 of decoding and query token 1 of prefill have no token.
struct ListCall : SparseCall {
  TensorView lengths;  // sparse calls are scheduled without lengths

  explicit ListCall(AttentionKind kind) : SparseCall(kind) {
    SparseCall::lengths[1] = 0;
    extra_lengths[1] = 0;
    if (kind == AttentionKind::sparse_decode)
      max_logits.clear();
  }
};

// The results. Both interfaces must give the same bits.
template <class Call>
Results results_of(Call& call, LseBase base, EmptyLse empty) {
  call.outputs.lse_base = base;
  call.outputs.empty_lse = empty;
  Plan plan = make_plan(call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule(call.lengths, plan_memory.workspace());
  run(plan, call.inputs, call.outputs, run_memory.workspace());
  const Results results{call.out, call.lse, call.max_logits};

  const CPlan c_plan(call.problem);
  EXPECT_EQ(c_plan.schedule(call.lengths, plan_memory.workspace()), FLASHMLA_OK);
  EXPECT_EQ(c_plan.run(call.inputs, call.outputs, run_memory.workspace()), FLASHMLA_OK);
  EXPECT_EQ(call.out, results.out);
  EXPECT_EQ(call.lse, results.lse);
  return results;
}

void expect_in_base_two(const std::vector<float>& values, const std::vector<float>& natural) {
  ASSERT_EQ(values.size(), natural.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double wanted = natural[i] * 1.4426950408889634;
    if (std::isfinite(natural[i])) {
      EXPECT_NEAR(values[i], wanted, 2e-7 * std::fabs(wanted) + 1e-7) << i;
    }
  }
}

template <class Call>
void expect_every_form(Call& call) {
  const Results plain = results_of(call, LseBase::natural, EmptyLse::plus_infinity);
  std::size_t empty_rows = 0;
  for (const float lse : plain.lse)
    empty_rows += std::isfinite(lse) ? 0 : 1;
  EXPECT_GT(empty_rows, 0u);
  EXPECT_LT(empty_rows, plain.lse.size());

  for (const EmptyLse empty : {EmptyLse::plus_infinity, EmptyLse::minus_infinity}) {
    const Results natural = results_of(call, LseBase::natural, empty);
    const Results two = results_of(call, LseBase::two, empty);
    EXPECT_EQ(natural.out, plain.out);
    EXPECT_EQ(two.out, plain.out);
    for (std::size_t i = 0; i < plain.lse.size(); ++i) {
      const float wanted = std::isfinite(plain.lse[i]) ? plain.lse[i] : value_of(empty);
      EXPECT_EQ(natural.lse[i], wanted) << i;
      EXPECT_EQ(std::isfinite(two.lse[i]) ? 0 : two.lse[i], std::isfinite(wanted) ? 0 : wanted);
    }
    expect_in_base_two(two.lse, plain.lse);
    expect_in_base_two(two.max_logits, plain.max_logits);
    for (std::size_t i = 0; i < two.max_logits.size(); ++i)
      EXPECT_EQ(two.max_logits[i] == -infinity, !std::isfinite(plain.lse[i])) << i;
  }
}

TEST(LseForm, OfDenseDecoding) {
  DenseCall call(false);
  expect_every_form(call);
}

TEST(LseForm, OfSplitRequests) {
  DenseCall call(true);
  Plan plan = make_plan(call.problem);
  const AlignedBytes memory(plan.plan_workspace_bytes());
  plan.schedule(call.lengths, memory.workspace());
  ASSERT_GT(plan.view().split_offset[2], 0);
  expect_every_form(call);
}

TEST(LseForm, OfSparseDecoding) {
  ListCall call(AttentionKind::sparse_decode);
  expect_every_form(call);
}

TEST(LseForm, OfSparsePrefill) {
  ListCall call(AttentionKind::sparse_prefill);
  expect_every_form(call);
}

// lse of 12 equal scores of 0 is log 12.
TEST(LseForm, IsTheLogarithmOfTheSum) {
  DenseCall call(false);
  call.length_values = {12, 12};
  call.inputs.softmax_scale = 0.0f;
  EXPECT_FLOAT_EQ(results_of(call, LseBase::natural, {}).lse[0], std::log(12.0f));
  EXPECT_FLOAT_EQ(results_of(call, LseBase::two, {}).lse[0], std::log2(12.0f));
}

TEST(LseForm, NamesItsValues) {
  EXPECT_EQ(name_of(LseBase::natural), "natural");
  EXPECT_EQ(name_of(LseBase::two), "two");
  EXPECT_EQ(name_of(EmptyLse::plus_infinity), "plus_infinity");
  EXPECT_EQ(name_of(EmptyLse::minus_infinity), "minus_infinity");
}

}  // namespace
}  // namespace flashmla::tests
