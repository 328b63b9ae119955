#include "tools/roofline.h"

#include <gtest/gtest.h>

#include "flashmla/error.h"
#include "tools/roofline/loops.h"

namespace flashmla::tools {
namespace {

TEST(Roofline, IsFiniteAndPositive) {
  const Roofline roofline = measure_roofline({});
  // The limits lie below the processors of the last twenty years and above those of the next years.
  EXPECT_GT(roofline.bytes_per_second, 1e7);
  EXPECT_LT(roofline.bytes_per_second, 1e14);
  EXPECT_GT(roofline.flop_per_second, 1e7);
  EXPECT_LT(roofline.flop_per_second, 1e16);
}

TEST(Roofline, OfAGpu) {
  try {
    const Roofline roofline = measure_roofline({DeviceType::cuda, 0});
    EXPECT_GT(roofline.bytes_per_second, 2e12);
    EXPECT_LT(roofline.bytes_per_second, 5e12);
    EXPECT_GT(roofline.flop_per_second, 500e12);
    EXPECT_LT(roofline.flop_per_second, 1000e12);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
  }
}

TEST(Roofline, TheLoopsReallyReadAndMultiply) {
  const std::uint64_t words[] = {1, 20, 300, 4000, 50000};
  EXPECT_EQ(baseline_loops.read(words, 5), 54321u);
  EXPECT_EQ(baseline_loops.read(words, 0), 0u);
  // x · 0.5 + 1 approaches 2 in every lane of every chain. Each lane has one multiply-add in a
  // round.
  EXPECT_FLOAT_EQ(baseline_loops.multiply_add(100, 0.5f),
                  static_cast<float>(baseline_loops.flop_per_round));
}

}  // namespace
}  // namespace flashmla::tools
