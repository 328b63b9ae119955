// The list of backends, their reasons for refusing a problem, and FLASHMLA_BACKEND.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "expect_rejected.h"
#include "flashmla/flashmla.h"

namespace flashmla::tests {
namespace {

using testing::HasSubstr;

class BackendFilter {
 public:
  explicit BackendFilter(const char* value) { setenv("FLASHMLA_BACKEND", value, 1); }
  ~BackendFilter() { unsetenv("FLASHMLA_BACKEND"); }
};

Problem sound_problem() {
  Problem problem;
  problem.batch = 1;
  problem.query_heads = 16;
  problem.max_pages = 4;
  return problem;
}

void expect_unsupported(const std::function<void()>& call, const char* reason) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_THAT(error.what(), HasSubstr(reason));
  }
}

TEST(Backends, CpuIsLastAndAlwaysThere) {
  const auto list = list_backends();
  ASSERT_FALSE(list.empty());
  EXPECT_EQ(list.back().name, "cpu");
  EXPECT_EQ(list.back().unavailable, "");
  ASSERT_EQ(list.back().devices.size(), 1u);
  EXPECT_THAT(list.back().devices[0], HasSubstr("cpu:0"));
  EXPECT_EQ(make_plan(sound_problem()).backend(), "cpu");
  EXPECT_EQ(refusal("cpu", sound_problem()), "");
}

TEST(Backends, RefusalsCarryTheirReason) {
  Problem dense = sound_problem();
  dense.kv_format = KvFormat::v32;
  const std::string reason = refusal("cpu", dense);
  EXPECT_THAT(reason, HasSubstr("v32"));
  expect_unsupported([&] { make_plan(dense); }, reason.c_str());

  Problem elsewhere = sound_problem();
  elsewhere.device = {DeviceType::cuda, 0};
  EXPECT_THAT(refusal("cpu", elsewhere), HasSubstr("cuda:0"));

  for (auto option : {&Problem::ragged_queries, &Problem::scaled_cache}) {
    Problem problem = sound_problem();
    problem.*option = true;
    EXPECT_NE(refusal("cpu", problem), "");
  }
  Problem parts = sound_problem();
  parts.kind = AttentionKind::sparse_decode;
  parts.max_pages = 0;
  parts.split_query = true;
  EXPECT_THAT(refusal("cpu", parts), HasSubstr("two parts"));
  expect_rejected([] { (void)refusal("tpu", sound_problem()); }, "backend", "tpu");
  expect_rejected([] { (void)refusal("cpu", Problem{}); }, "query_heads", "0");
}

TEST(Backends, FilterTakesNamesOutOfUse) {
  {
    const BackendFilter filter("cuda,none");
    EXPECT_THAT(list_backends().back().unavailable, HasSubstr("FLASHMLA_BACKEND=cuda,none"));
    expect_unsupported([] { make_plan(sound_problem()); }, "FLASHMLA_BACKEND");
    float value[512] = {};
    float lse = 0;
    const PartialResult part{TensorView(value, DType::fp32, {1, 1, 1, 512}),
                             TensorView(&lse, DType::fp32, {1, 1, 1})};
    expect_unsupported([&] { merge({&part, 1}, {}, {part.out, part.lse}); }, "FLASHMLA_BACKEND");
  }
  const BackendFilter filter("cuda,cpu");
  EXPECT_EQ(make_plan(sound_problem()).backend(), "cpu");
}

TEST(Backends, ThreadsAreChecked) {
  expect_rejected([] { set_cpu_threads(-1); }, "threads", "-1");
  expect_rejected([] { set_cpu_threads(5000); }, "threads", "5000");
  set_cpu_threads(3);
  EXPECT_EQ(cpu_threads(), 3);
  set_cpu_threads(0);
  EXPECT_GE(cpu_threads(), 1);
}

TEST(Version, HasThreeNumbers) {
  EXPECT_THAT(std::string(version()), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

}  // namespace
}  // namespace flashmla::tests
