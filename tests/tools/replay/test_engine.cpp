#include "tools/replay/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "flashmla/error.h"

namespace flashmla::tools {
namespace {

TEST(Buffer, IsAlignedAndFullOfNan) {
  Buffer buffer(1000);
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
}

TEST(Engine, ProblemFollowsTheOptions) {
  EngineOptions options;
  options.format = KvFormat::fp16;
  options.heads = 20;
  options.page_size = 16;
  options.max_blocks = 33;
  options.drafts = 2;
  const Problem problem = step_problem(options, 7);
  EXPECT_EQ(problem.query_type, DType::fp16);
  EXPECT_EQ(problem.kv_format, KvFormat::fp16);
  EXPECT_EQ(problem.batch, 7);
  EXPECT_EQ(problem.query_tokens, 2);
  EXPECT_EQ(problem.query_heads, 20);
  EXPECT_EQ(problem.page_size, 16);
  EXPECT_EQ(problem.max_blocks, 33);
  EXPECT_TRUE(problem.causal) << "a draft must not see the drafts after it";
}

TEST(Engine, SaysWhatTheLibraryDoesNotServe) {
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4}) {
    EngineOptions options;
    options.format = format;
    try {
      const Engine engine(options);
      ADD_FAILURE() << "dense decoding over " << name_of(format);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
    }
  }
}

}  // namespace
}  // namespace flashmla::tools
