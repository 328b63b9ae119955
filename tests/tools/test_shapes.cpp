#include "tools/shapes.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/random.h"
#include "tools/command.h"

namespace flashmla::tools {
namespace {

TEST(Shapes, TextComesBack) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  for (int i = 0; i < 100; ++i) {
    const Shape shape{random.between(1, 1000),   random.between(1, 8), random.between(1, 128),
                      random.between(1, 100000), random.chance(0.5),   random.chance(0.5)};
    EXPECT_EQ(parse_shape(text_of(shape)), shape) << text_of(shape);
  }
}

TEST(Shapes, TextOfListsComesBack) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  for (int i = 0; i < 100; ++i) {
    Shape shape{random.between(1, 1000), random.between(1, 8), random.between(1, 128),
                random.between(1, 100000)};
    if (random.chance(0.5)) {
      shape.extra_tokens = random.between(1, 100000);
      shape.extra_page = random.between(1, 256);
    }
    if (random.chance(0.5)) {
      shape.valid = random.between(1, shape.tokens);
      shape.scattered = random.chance(0.5);
    }
    EXPECT_EQ(parse_shape(text_of(shape)), shape) << text_of(shape);
  }
  EXPECT_EQ(text_of(parse_shape("1,2,64,128+512")), "1,2,64,128+512@64");
}

TEST(Shapes, FlagsComeInAnyOrder) {
  EXPECT_EQ(parse_shape("4,2,64,100,causal,varlen"), (Shape{4, 2, 64, 100, true, true}));
  EXPECT_EQ(parse_shape("4,2,64,100,causal"), (Shape{4, 2, 64, 100, false, true}));
}

TEST(Shapes, AnythingElseIsBadInput) {
  for (const char* text : {"",
                           "4",
                           "4,1,64",
                           "4,1,64,",
                           "4,1,64,x",
                           "4,1,64,10x",
                           "0,1,64,100",
                           "4,-1,64,100",
                           "4,1,64,100,other",
                           "4,1,64,100,causal,causal",
                           "4,1,64,100,",
                           "4,1,64,4294967296",
                           "4,1,64,99999999999999999999",
                           "4,1,64,128+",
                           "4,1,64,128@2",
                           "4,1,64,128+512@",
                           "4,1,64,128+512@0",
                           "4,1,64,128+512+3",
                           "4,1,64,128+512@2@2",
                           "4,1,64,100,valid",
                           "4,1,64,100,valid0",
                           "4,1,64,100,valid101",
                           "4,1,64,100,valid5,scattered5",
                           " 4,1,64,100",
                           "4 1 64 100"})
    EXPECT_THROW(parse_shape(text), BadInput) << "'" << text << "'";
}

TEST(Shapes, TheSuiteHasBothEnds) {
  const auto shapes = dense_shapes();
  EXPECT_GE(shapes.size(), 8u);
  EXPECT_TRUE(std::ranges::any_of(shapes, [](const Shape& s) { return s.query_heads == 128; }));
  EXPECT_TRUE(std::ranges::any_of(shapes, [](const Shape& s) { return s.query_heads == 16; }));
  EXPECT_TRUE(std::ranges::any_of(shapes, &Shape::varlen));
  EXPECT_TRUE(std::ranges::any_of(shapes, &Shape::causal));
}

}  // namespace
}  // namespace flashmla::tools
