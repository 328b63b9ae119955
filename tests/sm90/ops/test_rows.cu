// Rows of 16-bit numbers on their way from and to global memory, 16 bytes at a time.
#include <numeric>

#include "sm90/ops/load_rows.h"
#include "sm90/ops/store_rows.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

using test::Memory;

constexpr int lanes = 32;
constexpr int unit_elements = 8;

// Lane i loads the unit that begins at element 8 i + `offset`; every third one is not wanted.
struct LoadUnits {
  const std::uint16_t* source;
  int offset;
  bool aligned;
  uint4* got;

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const int lane = static_cast<int>(threadIdx.x);
    const std::uint32_t to = shared.address + lane * 16;
    const bool wanted = lane % 3 != 0;
    load_unit(to, wanted ? source + lane * unit_elements + offset : source, wanted, aligned);
    ptx::wait_for_copies();
    got[lane] = ptx::load_shared_unit(to);
  }
};

// Lane i stores numbers 8 i … 8 i + 7 from element `first` + 16 i on: every second unit is a gap.
template <bool Aligned>
struct StoreUnits {
  std::uint16_t* target;
  int first;

  FLASHMLA_DEVICE void operator()(int lane) const {
    std::uint32_t words[4];
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t number = unit_elements * lane + 2 * i;
      words[i] = number | (number + 1) << 16;
    }
    store_unit<Aligned>(target + first + 2 * unit_elements * lane,
                        {words[0], words[1], words[2], words[3]});
  }
};

class Rows : public test::DeviceTest {
 protected:
  static void expect_loaded(int offset, bool aligned) {
    std::vector<std::uint16_t> numbers(lanes * unit_elements + 8);
    std::iota(numbers.begin(), numbers.end(), std::uint16_t{0x8001});
    Memory<std::uint16_t> source(numbers);
    Memory<uint4> got(lanes);
    test::run_blocks({.threads = lanes, .shared_bytes = lanes * 16},
                     LoadUnits{source.data(), offset, aligned, got.data()});
    const std::vector<uint4> units = got.read();
    for (int lane = 0; lane < lanes; ++lane) {
      const std::uint32_t words[4] = {units[lane].x, units[lane].y, units[lane].z, units[lane].w};
      for (int i = 0; i < unit_elements; ++i)
        ASSERT_EQ(words[i / 2] >> 16 * (i % 2) & 0xffff,
                  lane % 3 != 0 ? numbers[lane * unit_elements + offset + i] : 0)
            << "unit " << lane << ", element " << i;
    }
  }

  template <bool Aligned>
  static void expect_stored(int first) {
    constexpr int elements = lanes * 2 * unit_elements + 8;
    Memory<std::uint16_t> target(elements);
    test::run_threads(lanes, StoreUnits<Aligned>{target.data(), first});
    std::vector<std::uint16_t> wanted(elements, 0xffff);
    for (int i = 0; i < lanes * unit_elements; ++i)
      wanted[first + i / unit_elements * 2 * unit_elements + i % unit_elements] =
          static_cast<std::uint16_t>(i);
    EXPECT_EQ(target.read(), wanted);
  }
};

TEST_F(Rows, AreLoadedFromAlignedAddresses) {
  expect_loaded(0, true);
}

TEST_F(Rows, AreLoadedElementByElementFromOddAddresses) {
  for (const int offset : {0, 1, 3, 4})
    expect_loaded(offset, false);
}

TEST_F(Rows, AreStoredToAlignedAddresses) {
  expect_stored<true>(0);
}

TEST_F(Rows, AreStoredElementByElementToOddAddresses) {
  for (const int first : {0, 1, 5})
    expect_stored<false>(first);
}

}  // namespace

}  // namespace flashmla::sm90::ops
