// Where codes lie: every unit at a place of its own, and loads that meet all banks.
#include "sm90/tile/code_rows.h"

#include <set>

#include "tests/sm90/on_device.h"

namespace flashmla::sm90::tile {

namespace {

template <class Rows>
class CodeRowsTest : public ::testing::Test {};
using AllRows = testing::Types<CodeRows<32>, CodeRows<28>>;  // of V3.2 and of V4
TYPED_TEST_SUITE(CodeRowsTest, AllRows);

// The group of four banks that holds a unit.
int banks_of(std::uint32_t offset) {
  return static_cast<int>(offset / unit_bytes % units_per_row);
}

TYPED_TEST(CodeRowsTest, HaveAPlaceForEachUnit) {
  std::set<std::uint32_t> places;
  for (int row = 0; row < 64; ++row)
    for (int unit = 0; unit < TypeParam::units; ++unit) {
      const std::uint32_t offset = TypeParam::offset(row, unit);
      EXPECT_EQ(offset % unit_bytes, 0u);
      EXPECT_EQ(static_cast<int>(offset) / TypeParam::bytes, row);
      places.insert(offset);
    }
  EXPECT_EQ(places.size(), 64u * TypeParam::units);
}

TYPED_TEST(CodeRowsTest, EightRowsOfAUnitMeetAllBanks) {
  for (int first = 0; first < 64; first += 8)
    for (int unit = 0; unit < TypeParam::units; ++unit) {
      std::set<int> banks;
      for (int row = first; row < first + 8; ++row)
        banks.insert(banks_of(TypeParam::offset(row, unit)));
      EXPECT_EQ(banks.size(), 8u);
    }
}

TYPED_TEST(CodeRowsTest, FourUnitsOfTwoRowsMeetAllBanks) {
  for (int first = 0; first < 64; first += 2)
    for (int unit = 0; unit < TypeParam::units; unit += 4) {
      std::set<int> banks;
      for (int i = 0; i < 8; ++i)
        banks.insert(banks_of(TypeParam::offset(first + i / 4, unit + i % 4)));
      EXPECT_EQ(banks.size(), 8u);
    }
}

}  // namespace

}  // namespace flashmla::sm90::tile
