// Where the bytes of a tile lie: what the copy engine's and wgmma's 128-byte swizzle demands.
#include "sm90/tile/swizzle.h"

#include <algorithm>
#include <numeric>

#include "tests/sm90/on_device.h"

namespace flashmla::sm90::tile {

namespace {

constexpr int rows = 64;

struct Offsets {
  std::uint32_t* offsets;  // [rows][units_per_row]

  FLASHMLA_DEVICE void operator()(int thread) const {
    offsets[thread] = swizzled(thread / units_per_row, thread % units_per_row);
  }
};

class Swizzle : public test::DeviceTest {
 protected:
  static std::vector<std::uint32_t> offsets() {
    test::Memory<std::uint32_t> memory(rows * units_per_row);
    test::run_threads(rows * units_per_row, Offsets{memory.data()});
    return memory.read();
  }
};

TEST_F(Swizzle, GivesEveryUnitAPlaceOfItsOwn) {
  std::vector<std::uint32_t> places = offsets();
  std::vector<std::uint32_t> all(places.size());
  std::iota(all.begin(), all.end(), 0);
  std::sort(places.begin(), places.end());
  for (std::size_t i = 0; i < all.size(); ++i)
    ASSERT_EQ(places[i], all[i] * unit_bytes);
}

// The hardware's rule: bits 4 to 6 of the address of a byte in a chunk are those of the plain
// address, exclusive or its bits 7 to 9.
TEST_F(Swizzle, MixesTheAddressBitsThatTheHardwareMixes) {
  const std::vector<std::uint32_t> places = offsets();
  for (std::uint32_t i = 0; i < places.size(); ++i) {
    const std::uint32_t plain = i * 16;
    ASSERT_EQ(places[i], plain ^ (plain >> 3 & 0x70)) << "row " << i / 8 << ", unit " << i % 8;
  }
}

// Eight threads that read the same column of eight rows at once meet all 32 banks.
TEST_F(Swizzle, PutsAColumnOfEightRowsIntoAllBanks) {
  const std::vector<std::uint32_t> places = offsets();
  for (int first = 0; first < rows; first += 8)
    for (int unit = 0; unit < units_per_row; ++unit) {
      std::uint32_t met = 0;
      for (int row = first; row < first + 8; ++row)
        met |= 1u << places[row * units_per_row + unit] / 16 % 8;
      ASSERT_EQ(met, 0xffu) << "rows from " << first << ", unit " << unit;
    }
}

TEST_F(Swizzle, LeavesTheFirstRowOfEachEightAlone) {
  const std::vector<std::uint32_t> places = offsets();
  for (int row = 0; row < rows; row += 8)
    for (int unit = 0; unit < units_per_row; ++unit)
      ASSERT_EQ(places[row * units_per_row + unit], row * 128u + unit * 16u);
}

}  // namespace

}  // namespace flashmla::sm90::tile
