// Every field of Problem is wrong once, through C++ and through C.
#include <gtest/gtest.h>

#include "as_c.h"
#include "expect_rejected.h"
#include "flashmla/flashmla.h"

namespace flashmla::tests {
namespace {

Problem sound_problem() {
  Problem problem;
  problem.batch = 2;
  problem.query_heads = 16;
  problem.max_pages = 4;
  return problem;
}

Problem sound_sparse_problem() {
  Problem problem = sound_problem();
  problem.kind = AttentionKind::sparse_decode;
  problem.max_pages = 0;
  problem.topk = 64;
  return problem;
}

Problem sound_prefill_problem() {
  Problem problem = sound_sparse_problem();
  problem.kind = AttentionKind::sparse_prefill;
  problem.batch = 1;
  return problem;
}

struct WrongField {
  const char* argument;
  const char* given;
  void (*spoil)(Problem&);
};

void expect_refused(const Problem& problem, const WrongField& wrong) {
  expect_rejected([&] { make_plan(problem); }, wrong.argument, wrong.given);
  const flashmla_problem c = c_problem(problem);
  flashmla_plan* plan = nullptr;
  std::string argument = wrong.argument;
  if (argument == "device")
    argument += problem.device.index < 0 ? "_index" : "_type";
  expect_c_rejected(flashmla_plan_create(&c, &plan), argument, wrong.given);
  EXPECT_EQ(plan, nullptr);
}

class WrongProblem : public testing::TestWithParam<WrongField> {};

TEST_P(WrongProblem, IsRejectedByName) {
  Problem problem = sound_problem();
  ASSERT_NO_THROW(make_plan(problem));
  GetParam().spoil(problem);
  expect_refused(problem, GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    EachField, WrongProblem,
    testing::Values(
        WrongField{"kind", "9", [](Problem& p) { p.kind = static_cast<AttentionKind>(9); }},
        WrongField{"device", "7", [](Problem& p) { p.device.type = static_cast<DeviceType>(7); }},
        WrongField{"device", "-1", [](Problem& p) { p.device.index = -1; }},
        WrongField{"query_type", "fp32", [](Problem& p) { p.query_type = DType::fp32; }},
        WrongField{"kv_format", "5", [](Problem& p) { p.kv_format = static_cast<KvFormat>(5); }},
        WrongField{"kv_format", "fp16", [](Problem& p) { p.kv_format = KvFormat::fp16; }},
        WrongField{"batch", "-1", [](Problem& p) { p.batch = -1; }},
        WrongField{"batch", "131073", [](Problem& p) { p.batch = 131073; }},
        WrongField{"query_tokens", "-1", [](Problem& p) { p.query_tokens = -1; }},
        WrongField{"query_tokens", "131073", [](Problem& p) { p.query_tokens = 131073; }},
        WrongField{"query_heads", "0", [](Problem& p) { p.query_heads = 0; }},
        WrongField{"query_heads", "16", [](Problem& p) { p.kv_heads = 3; }},
        WrongField{"kv_heads", "0", [](Problem& p) { p.kv_heads = 0; }},
        WrongField{"qk_dim", "575", [](Problem& p) { p.qk_dim = 575; }},
        WrongField{"v_dim", "576", [](Problem& p) { p.v_dim = 576; }},
        WrongField{"page_size", "0", [](Problem& p) { p.page_size = 0; }},
        WrongField{"max_pages", "-4", [](Problem& p) { p.max_pages = -4; }},
        WrongField{"max_pages", "33554432", [](Problem& p) { p.max_pages = 1 << 25; }},
        WrongField{"topk", "64", [](Problem& p) { p.topk = 64; }},
        WrongField{"extra_topk", "64", [](Problem& p) { p.extra_topk = 64; }},
        WrongField{"extra_page_size", "64", [](Problem& p) { p.extra_page_size = 64; }},
        WrongField{"max_workers", "-1", [](Problem& p) { p.max_workers = -1; }}));

class WrongSparseProblem : public testing::TestWithParam<WrongField> {};

TEST_P(WrongSparseProblem, IsRejectedByName) {
  Problem problem = sound_sparse_problem();
  ASSERT_NO_THROW(make_plan(problem));
  GetParam().spoil(problem);
  expect_refused(problem, GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    EachField, WrongSparseProblem,
    testing::Values(
        WrongField{"causal", "true", [](Problem& p) { p.causal = true; }},
        WrongField{"topk", "-1", [](Problem& p) { p.topk = -1; }},
        WrongField{"extra_topk", "-1", [](Problem& p) { p.extra_topk = -1; }},
        WrongField{"topk", "-5", [](Problem& p) { p.topk = -5; }},
        WrongField{"extra_topk", "2147483584", [](Problem& p) { p.extra_topk = (1LL << 31) - 64; }},
        WrongField{"extra_page_size", "0", [](Problem& p) { p.extra_topk = 64; }},
        WrongField{"extra_page_size", "-1", [](Problem& p) { p.extra_page_size = -1; }},
        WrongField{"page_size", "0", [](Problem& p) { p.page_size = 0; }},
        WrongField{"kv_heads", "2", [](Problem& p) { p.kv_heads = 2; }},
        WrongField{"max_pages", "3", [](Problem& p) { p.max_pages = 3; }},
        WrongField{"query_type", "fp16", [](Problem& p) { p.query_type = DType::fp16; }},
        WrongField{"kv_format", "fp16", [](Problem& p) { p.kv_format = KvFormat::fp16; }},
        WrongField{"qk_dim", "576", [](Problem& p) { p.kv_format = KvFormat::v4; }},
        WrongField{"qk_dim", "512",
                   [](Problem& p) {
                     p.kv_format = KvFormat::v32;
                     p.qk_dim = 512;
                   }},
        WrongField{"query_tokens", "131072 for each of 131072",
                   [](Problem& p) { p.batch = p.query_tokens = 131072; }}));

class WrongPrefillProblem : public testing::TestWithParam<WrongField> {};

TEST_P(WrongPrefillProblem, IsRejectedByName) {
  Problem problem = sound_prefill_problem();
  ASSERT_NO_THROW(make_plan(problem));
  GetParam().spoil(problem);
  expect_refused(problem, GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    EachField, WrongPrefillProblem,
    testing::Values(WrongField{"batch", "2", [](Problem& p) { p.batch = 2; }},
                    WrongField{"query_tokens", "-1", [](Problem& p) { p.query_tokens = -1; }},
                    WrongField{"topk", "-1", [](Problem& p) { p.topk = -1; }},
                    WrongField{"extra_page_size", "16", [](Problem& p) { p.extra_page_size = 16; }},
                    WrongField{"kv_format", "v32", [](Problem& p) { p.kv_format = KvFormat::v32; }},
                    WrongField{"kv_heads", "4", [](Problem& p) { p.kv_heads = 4; }},
                    WrongField{"causal", "true", [](Problem& p) { p.causal = true; }},
                    WrongField{"extra_topk", "64",
                               [](Problem& p) { p.extra_topk = p.extra_page_size = 64; }}));

TEST(MakePlan, KeepsLimitsOfTheContract) {
  Problem problem = sound_problem();
  problem.batch = 131072;
  problem.query_tokens = 131072;
  problem.page_size = 1;
  problem.max_pages = 1;
  EXPECT_NO_THROW(make_plan(problem));
  problem = sound_problem();
  problem.batch = 0;
  problem.max_pages = 0;
  EXPECT_NO_THROW(make_plan(problem));
  for (const auto& [b, s_q] : {std::pair{1, 131072}, std::pair{131072, 1}, std::pair{0, 1}}) {
    problem = sound_sparse_problem();
    problem.batch = b;
    problem.query_tokens = s_q;
    EXPECT_NO_THROW(make_plan(problem));
  }
}

}  // namespace
}  // namespace flashmla::tests
