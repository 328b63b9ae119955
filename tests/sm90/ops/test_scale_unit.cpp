// The unit of accumulators whose weights are multiplied by scales.
#include "sm90/ops/scale_unit.h"

#include <cmath>
#include <limits>

#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

ScaleRange range_of(float largest, float smallest) {
  return {__builtin_bit_cast(std::uint32_t, largest), __builtin_bit_cast(std::uint32_t, smallest)};
}

bool raised(ScaleUnit& unit, float largest, float smallest) {
  const ScaleRange ranges[2] = {range_of(largest, largest), range_of(smallest, smallest)};
  return unit.take_in(ranges);
}

TEST(ScaleUnit, IsAPowerOfTwoAboveAllScales) {
  for (const float largest : {1.0f, 1.5f, 0x1.fffffep3f, 0x1p-90f, 0x1p90f}) {
    ScaleUnit unit;
    EXPECT_FALSE(raised(unit, largest, largest));
    EXPECT_TRUE(unit.fits());
    EXPECT_LT(largest * unit.down(), 1);
    EXPECT_GE(largest * unit.down(), 0.5f);
  }
}

TEST(ScaleUnit, RisesWithLargerScales) {
  ScaleUnit unit;
  raised(unit, 1, 1);
  const float before = unit.down();
  EXPECT_FALSE(raised(unit, 0.75f, 0.75f));
  EXPECT_EQ(unit.down(), before);
  EXPECT_TRUE(raised(unit, 5, 1));
  EXPECT_EQ(unit.factor(), 0.25f);
  EXPECT_EQ(unit.down(), before * unit.factor());
  unit.reset();
  EXPECT_FALSE(raised(unit, 0x1p20f, 0x1p20f)) << "another segment";
}

TEST(ScaleUnit, FitsScalesThatAreNotTooFarApart) {
  ScaleUnit unit;
  raised(unit, 1, 0x1p-9f);
  EXPECT_TRUE(unit.fits());
  raised(unit, 1, 0x1p-10f);
  EXPECT_FALSE(unit.fits());
  raised(unit, 1, 1);
  EXPECT_TRUE(unit.fits()) << "the next block";
  raised(unit, 0x1p30f, 0x1p30f);
  raised(unit, 1, 1);
  EXPECT_FALSE(unit.fits()) << "a unit that an earlier block has raised";
}

TEST(ScaleUnit, TakesNoNoticeOfScalesOfZero) {
  ScaleUnit unit;
  raised(unit, 1, 0);
  EXPECT_TRUE(unit.fits());
  const ScaleRange none[1] = {};
  EXPECT_FALSE(unit.take_in(none));
  EXPECT_TRUE(unit.fits());
}

TEST(ScaleUnit, DoesNotFitScalesBeyondItsRange) {
  for (const float scale : {0x1p-120f, 0x1p-149f, 0x1p101f, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
    ScaleUnit unit;
    raised(unit, scale, scale);
    EXPECT_FALSE(unit.fits()) << scale;
    EXPECT_TRUE(std::isnormal(unit.down()));
  }
}

}  // namespace

}  // namespace flashmla::sm90::ops
