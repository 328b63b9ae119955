// Scales of tiles beside the rule of flashmla/kv_cache.h, computed in floating point.
#include "sm90/ops/tile_scale.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "core/numeric.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

using test::Memory;

class TileScale : public test::DeviceTest {};

// Thread i: the scale of a tile whose largest number has the bits i.
struct ScaleBytes {
  std::uint32_t* bytes;
  std::uint32_t* scales;       // as fp32
  std::uint32_t* reciprocals;  // as fp32

  FLASHMLA_DEVICE void operator()(int i) const {
    const std::uint32_t ordered = ordered_magnitudes(static_cast<std::uint32_t>(i)) & 0xffffu;
    bytes[i] = scale_byte(ordered);
    scales[i] = power_of_two_bits(bytes[i]);
    reciprocals[i] = reciprocal_bits(bytes[i]);
  }
};

TEST_F(TileScale, OfEveryFiniteNumberIsThePowerOfTwoAbove) {
  constexpr int finite = 0x7f80;
  Memory<std::uint32_t> bytes(finite);
  Memory<std::uint32_t> scales(finite);
  Memory<std::uint32_t> reciprocals(finite);
  test::run_threads(finite, ScaleBytes{bytes.data(), scales.data(), reciprocals.data()});
  const std::vector<std::uint32_t> byte = bytes.read();
  const std::vector<std::uint32_t> scale = scales.read();
  const std::vector<std::uint32_t> reciprocal = reciprocals.read();
  for (int i = 0; i < finite; ++i) {
    const float largest = bf16_to_float(static_cast<std::uint16_t>(i));
    const float wanted = std::max(largest / 448.0f, 1e-4f);
    const double power = std::bit_cast<float>(scale[i]);
    ASSERT_TRUE(power >= wanted && power / 2 < wanted) << largest << " has the scale " << power;
    ASSERT_EQ(power, std::ldexp(1.0, static_cast<int>(byte[i]) - 127)) << largest;
    ASSERT_EQ(power * std::bit_cast<float>(reciprocal[i]), 1.0) << largest;
  }
}

// Threads 2 k and 2 k + 1: the ordered magnitudes of a number and of its negative, in both halves.
struct Magnitudes {
  std::uint32_t* ordered;

  FLASHMLA_DEVICE void operator()(int i) const {
    const auto number = static_cast<std::uint32_t>(i);
    ordered[i] = ordered_magnitudes(number | (0xffffu - number) << 16);
  }
};

TEST_F(TileScale, OrderedMagnitudesPassOverInfinityAndNan) {
  constexpr int numbers = 1 << 16;
  Memory<std::uint32_t> memory(numbers);
  test::run_threads(numbers, Magnitudes{memory.data()});
  const std::vector<std::uint32_t> ordered = memory.read();
  for (int i = 0; i < numbers; ++i)
    for (const bool high : {false, true}) {
      const auto bits = static_cast<std::uint16_t>(high ? 0xffff - i : i);
      const auto found = static_cast<std::int16_t>(ordered[i] >> (high ? 16 : 0));
      if (std::isfinite(bf16_to_float(bits)))
        ASSERT_EQ(found, (bits & 0x7fff) + 0x80) << bits;
      else
        ASSERT_LT(found, 0) << bits;
    }
}

struct E8m0Numbers {
  std::uint32_t* bits;
  FLASHMLA_DEVICE void operator()(int i) const {
    bits[i] = e8m0_bits(static_cast<std::uint32_t>(i));
  }
};

TEST_F(TileScale, EveryE8m0IsThatOfTheHost) {
  Memory<std::uint32_t> memory(256);
  test::run_threads(256, E8m0Numbers{memory.data()});
  const std::vector<std::uint32_t> bits = memory.read();
  for (int i = 0; i < 256; ++i)
    EXPECT_EQ(bits[i], std::bit_cast<std::uint32_t>(e8m0_to_float(static_cast<std::uint8_t>(i))))
        << i;
}

}  // namespace

}  // namespace flashmla::sm90::ops
