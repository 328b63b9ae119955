#include "tools/replay/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "flashmla/error.h"

namespace flashmla::tools {
namespace {

TEST(Buffer, IsAlignedAndFullOfNan) {
  support::HostMemory memory;
  Buffer buffer(memory, 1000);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % workspace_alignment, 0u);
  for (int i = 0; i < 250; ++i)
    ASSERT_TRUE(std::isnan(buffer.as<float>()[i]));
  buffer.as<float>()[3] = 1;
  buffer.grow(500);
  EXPECT_EQ(buffer.bytes(), 1000u);
  EXPECT_EQ(buffer.as<float>()[3], 1) << "large enough already";
  buffer.grow(2000);
  EXPECT_EQ(buffer.bytes(), 2000u);
  EXPECT_TRUE(std::isnan(buffer.as<float>()[499]));
  buffer.upload<std::int32_t>(std::vector<std::int32_t>(600, 7));
  EXPECT_EQ(buffer.bytes(), 2400u);
  EXPECT_EQ(buffer.as<std::int32_t>()[599], 7);
}

TEST(Engine, ProblemFollowsTheOptions) {
  EngineOptions options;
  options.format = KvFormat::fp16;
  options.heads = 20;
  options.page_size = 16;
  options.max_pages = 33;
  options.drafts = 2;
  const Problem problem = step_problem(options, 7);
  EXPECT_EQ(problem.query_type, DType::fp16);
  EXPECT_EQ(problem.kv_format, KvFormat::fp16);
  EXPECT_EQ(problem.batch, 7);
  EXPECT_EQ(problem.query_tokens, 2);
  EXPECT_EQ(problem.query_heads, 20);
  EXPECT_EQ(problem.page_size, 16);
  EXPECT_EQ(problem.max_pages, 33);
  EXPECT_TRUE(problem.causal) << "a draft must not see the drafts after it";
}

TEST(Engine, ProblemsOverFp8CachesAreSparse) {
  EngineOptions options;
  options.drafts = 2;
  options.page_size = 30;
  options.format = KvFormat::v32;
  const Problem v32 = step_problem(options, 3);
  EXPECT_EQ(v32.kind, AttentionKind::sparse_decode);
  EXPECT_EQ(v32.qk_dim, 576);
  EXPECT_EQ(v32.topk, 2048);
  EXPECT_EQ(v32.extra_topk, 0);
  options.format = KvFormat::v4;
  const Problem v4 = step_problem(options, 3);
  EXPECT_EQ(v4.qk_dim, 512);
  EXPECT_EQ(v4.topk, 128);
  EXPECT_EQ(v4.extra_topk, 512);
  EXPECT_EQ(v4.extra_page_size, 8);
  for (const Problem& problem : {v32, v4})
    EXPECT_NO_THROW(make_plan(problem));
}

}  // namespace
}  // namespace flashmla::tools
