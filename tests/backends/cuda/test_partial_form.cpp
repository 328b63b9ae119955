// The form of partial results. The test needs no GPU.
#include "sm90/attend/partial_form.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace flashmla::sm90::attend {
namespace {

// What a row of 512 took before: numbers of 16 bits and an lse.
constexpr std::size_t bytes_of_16_bits = 512 * 2 + 4;

std::size_t row_bytes(DType type) {
  const schedule::PartialBytes bytes = partial_bytes_of(type);
  return 512 * bytes.element + bytes.beside;
}

TEST(PartialForm, TakesTwiceTheBytesOf16BitsAtMost) {
  EXPECT_LE(row_bytes(DType::bf16), bytes_of_16_bits * 102 / 100);
  EXPECT_LE(row_bytes(DType::fp16), bytes_of_16_bits * 2);
}

TEST(RowScale, BringsTheSumOfMagnitudesToTheTopOfFp16) {
  for (int exponent = -112; exponent <= 127; ++exponent)
    for (const float mantissa : {1.0f, 1.5f, 1.999f}) {
      const float sum = std::ldexp(mantissa, exponent);
      const RowScale scale = RowScale::of(sum);
      ASSERT_EQ(scale.up * scale.down, 1.0f) << sum;
      ASSERT_GE(sum * scale.up, 0x1p14f) << sum;
      ASSERT_LT(sum * scale.up, 0x1p15f) << sum;
    }
}

// Smaller sums take the largest power of two.
TEST(RowScale, IsFiniteForTheSmallestSums) {
  for (const float sum : {0.0f, std::numeric_limits<float>::denorm_min(), 0x1p-126f, 0x1p-113f}) {
    const RowScale scale = RowScale::of(sum);
    EXPECT_EQ(scale.up * scale.down, 1.0f) << sum;
    EXPECT_LT(sum * scale.up, 0x1p15f) << sum;
    EXPECT_GE(scale.up, 0x1p126f) << sum;
  }
}

TEST(RowScale, LeavesRowsWithoutAFiniteSumAlone) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const float sum : {infinity, std::nanf("")}) {
    EXPECT_EQ(RowScale::of(sum).up, 1.0f);
    EXPECT_EQ(RowScale::of(sum).down, 1.0f);
  }
}

}  // namespace
}  // namespace flashmla::sm90::attend
