// Units of e4m3 codes, dequantised in both ways, beside the host's arithmetic; and which scales and
// codes need the second way.
#include "sm90/ops/dequantise.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/numeric.h"
#include "support/random.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

using test::Memory;

class Dequantise : public test::DeviceTest {};

enum class Way { shifts, conversions };

// Thread i: a unit of codes at one of the scales.
struct Units {
  const uint4* codes;  // [units]
  int units;
  const float* scales;
  Way way;
  std::uint32_t* values;  // [scales][units][8]

  FLASHMLA_DEVICE void operator()(int i) const {
    std::uint32_t unit[8];
    const float scale = scales[i / units];
    if (way == Way::shifts)
      dequantise_by_shifts(codes[i % units], CodeScale::for_shifts(scale), unit);
    else
      dequantise_by_conversions(codes[i % units], scale, unit);
    for (int j = 0; j < 8; ++j)
      values[8 * i + j] = unit[j];
  }
};

// All codes, each beside other ones.
std::vector<std::uint8_t> every_code() {
  std::vector<std::uint8_t> codes;
  for (int i = 0; i < 1024; ++i)
    codes.push_back(static_cast<std::uint8_t>(i * 77 + i / 256));
  return codes;
}

std::vector<uint4> in_units(const std::vector<std::uint8_t>& codes) {
  std::vector<uint4> units(codes.size() / unit_codes);
  std::memcpy(static_cast<void*>(units.data()), codes.data(), codes.size());
  return units;
}

bool is_nan(std::uint8_t code) {
  return (code & 0x7f) == 0x7f;
}

// Compares every code at every scale with the host's product. By shifts codes of NaN are anything.
void expect_products(const std::vector<float>& scales, Way way) {
  const std::vector<std::uint8_t> codes = every_code();
  const std::vector<uint4> units = in_units(codes);
  const std::size_t count = scales.size() * units.size();
  Memory<uint4> given(units);
  Memory<float> by(scales);
  Memory<std::uint32_t> values(8 * count);
  test::run_threads(static_cast<int>(count), Units{given.data(), static_cast<int>(units.size()),
                                                   by.data(), way, values.data()});
  const std::vector<std::uint32_t> found = values.read();
  for (std::size_t s = 0; s < scales.size(); ++s)
    for (std::size_t c = 0; c < codes.size(); ++c) {
      if (way == Way::shifts && is_nan(codes[c]))
        continue;
      const std::size_t i = s * codes.size() + c;
      const auto got = static_cast<std::uint16_t>(found[i / 2] >> 16 * (i % 2));
      const float product = e4m3_to_float(codes[c]) * scales[s];
      if (std::isnan(product))
        ASSERT_TRUE(std::isnan(bf16_to_float(got))) << int{codes[c]} << " at " << scales[s];
      else
        ASSERT_EQ(got, float_to_bf16(product))
            << "code " << int{codes[c]} << " at the scale " << scales[s] << ", place " << c % 16;
    }
}

// Zeros, powers of two, and others of 8 significant bits, of both signs.
std::vector<float> scales_for_shifts(support::Random& random) {
  std::vector<float> scales{0.0f, -0.0f, 0x1.fep6f, -0x1.fep6f, 0x1.02p-100f};
  for (int exponent = -100; exponent <= 6; ++exponent)
    for (const float sign : {1.0f, -1.0f}) {
      scales.push_back(std::ldexp(sign, exponent));
      for (int i = 0; i < 10; ++i) {
        const auto mantissa = static_cast<float>(random.between(128, 255));
        scales.push_back(std::ldexp(sign * mantissa, exponent - 7));
      }
    }
  return scales;
}

TEST_F(Dequantise, ByShiftsGivesTheProductsOfTheHost) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  expect_products(scales_for_shifts(random), Way::shifts);
}

TEST_F(Dequantise, ByConversionsGivesTheProductsOfTheHostAtAnyScale) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  std::vector<float> scales = scales_for_shifts(random);
  scales.insert(scales.end(),
                {128.0f, 0x1p127f, std::numeric_limits<float>::max(), 0x1p-126f, 0x1p-127f,
                 0x1p-149f, -0x1.8p-130f, std::numeric_limits<float>::infinity(),
                 -std::numeric_limits<float>::infinity(), std::nanf("")});
  for (int i = 0; i < 2000; ++i)
    scales.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random.next())));
  for (int i = 0; i < 200; ++i)  // subnormal
    scales.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random.next()) & 0x807fffff));
  expect_products(scales, Way::conversions);
}

struct Fits {
  const float* scales;
  std::uint32_t* fits;
  FLASHMLA_DEVICE void operator()(int i) const { fits[i] = CodeScale::fits_shifts(scales[i]); }
};

std::vector<std::uint32_t> fits(const std::vector<float>& scales) {
  Memory<float> given(scales);
  Memory<std::uint32_t> found(scales.size());
  test::run_threads(static_cast<int>(scales.size()), Fits{given.data(), found.data()});
  return found.read();
}

TEST_F(Dequantise, KnowsWhichScalesFitShifts) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  const std::vector<float> fitting = scales_for_shifts(random);
  const std::vector<std::uint32_t> fit = fits(fitting);
  for (std::size_t i = 0; i < fitting.size(); ++i)
    ASSERT_EQ(fit[i], 1u) << fitting[i];

  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> others{0x1p7f,        -0x1p7f,   0x1p127f,       0x1.fep-101f, 0x1p-126f,
                            -0x1p-127f,    0x1p-149f, 0x1p-133f,      infinity,     -infinity,
                            std::nanf(""), 0x1.01p0f, -0x1.000002p3f, 0x1.fffffep6f};
  for (int i = 0; i < 1000; ++i) {  // more than 8 significant bits
    const auto bits = static_cast<std::uint32_t>(random.next());
    others.push_back(std::bit_cast<float>(bits | 1u << random.between(0, 15)));
  }
  const std::vector<std::uint32_t> unfit = fits(others);
  for (std::size_t i = 0; i < others.size(); ++i)
    ASSERT_EQ(unfit[i], 0u) << others[i];
}

struct NanCodes {
  const uint4* codes;
  std::uint32_t* found;
  std::uint32_t* any;

  FLASHMLA_DEVICE void operator()(int i) const {
    found[i] = find_nan_codes(codes[i]);
    any[i] = has_nan_codes(found[i]);
  }
};

// Units without NaN, with one code of NaN at each place, and with many.
TEST_F(Dequantise, FindsCodesOfNan) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  std::vector<std::uint8_t> codes;
  for (int unit = 0; unit < 6000; ++unit)
    for (int place = 0; place < unit_codes; ++place) {
      const bool nan =
          unit % 3 == 1 ? place == unit / 3 % unit_codes : unit % 3 == 2 && random.chance(0.2);
      auto code = static_cast<std::uint8_t>(random.next());
      while (is_nan(code))
        code = static_cast<std::uint8_t>(random.next());
      if (random.chance(0.2))  // the neighbours of NaN
        code = random.pick<std::uint8_t>({0x7e, 0xfe, 0x80, 0x00});
      codes.push_back(nan ? random.pick<std::uint8_t>({0x7f, 0xff}) : code);
    }
  const std::vector<uint4> units = in_units(codes);
  Memory<uint4> given(units);
  Memory<std::uint32_t> found(units.size());
  Memory<std::uint32_t> any(units.size());
  test::run_threads(static_cast<int>(units.size()),
                    NanCodes{given.data(), found.data(), any.data()});
  const std::vector<std::uint32_t> bits = found.read();
  const std::vector<std::uint32_t> has = any.read();
  for (std::size_t unit = 0; unit < units.size(); ++unit) {
    std::uint32_t wanted = 0;
    for (std::size_t place = 0; place < unit_codes; ++place)
      if (is_nan(codes[unit_codes * unit + place]))
        wanted |= 0x80u << 8 * (place % 4);
    ASSERT_EQ(bits[unit] & 0x80808080u, wanted) << "unit " << unit;
    ASSERT_EQ(has[unit], wanted != 0 ? 1u : 0u) << "unit " << unit;
  }
}

}  // namespace

}  // namespace flashmla::sm90::ops
