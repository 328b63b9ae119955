// Compares every e4m3 and e8m0 code, and the rounding to e4m3, with values computed in double from
// the bit fields, and with the codec of support/, which shares no code with this one.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "core/numeric.h"
#include "support/fp8.h"

namespace flashmla {
namespace {

double by_fields(int code) {
  const double sign = (code & 0x80) != 0 ? -1 : 1;
  const int exponent = (code >> 3) & 0xf;
  const int mantissa = code & 7;
  if (exponent == 15 && mantissa == 7)
    return std::numeric_limits<double>::quiet_NaN();
  return sign *
         (exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10));
}

TEST(Fp8, DecodesEveryE4m3Code) {
  for (int code = 0; code < 256; ++code) {
    const float decoded = e4m3_to_float(static_cast<std::uint8_t>(code));
    const float other = support::e4m3_to_float(static_cast<std::uint8_t>(code));
    if (std::isnan(by_fields(code))) {
      EXPECT_TRUE(std::isnan(decoded) && std::isnan(other)) << code;
      continue;
    }
    EXPECT_EQ(static_cast<double>(decoded), by_fields(code)) << code;
    EXPECT_EQ(std::bit_cast<std::uint32_t>(decoded), std::bit_cast<std::uint32_t>(other)) << code;
  }
  EXPECT_EQ(e4m3_to_float(0x7e), 448.0f);
  EXPECT_EQ(e4m3_to_float(0x01), 0x1p-9f);
}

TEST(Fp8, DecodesEveryE8m0Code) {
  for (int code = 0; code < 255; ++code) {
    EXPECT_EQ(e8m0_to_float(static_cast<std::uint8_t>(code)), std::ldexp(1.0, code - 127)) << code;
    EXPECT_EQ(support::e8m0_to_float(static_cast<std::uint8_t>(code)), std::ldexp(1.0, code - 127));
  }
  EXPECT_TRUE(std::isnan(e8m0_to_float(255)) && std::isnan(support::e8m0_to_float(255)));
}

TEST(Fp8, EveryCodeSurvivesARoundTrip) {
  for (int code = 0; code < 256; ++code) {
    const auto bits = static_cast<std::uint8_t>(code);
    EXPECT_EQ(float_to_e4m3(e4m3_to_float(bits)), bits);
    EXPECT_EQ(support::float_to_e4m3(support::e4m3_to_float(bits)), bits);
  }
}

TEST(Fp8, RoundsToNearestEvenAroundEveryHalfwayPoint) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (int code = 0; code < 0x7e; ++code) {
    const double low = by_fields(code);
    const double high = by_fields(code + 1);
    const auto halfway = static_cast<float>((low + high) / 2);
    const auto up = static_cast<std::uint8_t>(code + 1);
    const auto even = static_cast<std::uint8_t>(code % 2 == 0 ? code : code + 1);
    EXPECT_EQ(float_to_e4m3(halfway), even);
    EXPECT_EQ(float_to_e4m3(-halfway), even | 0x80);
    EXPECT_EQ(float_to_e4m3(std::nextafter(halfway, 0.0f)), code);
    EXPECT_EQ(float_to_e4m3(std::nextafter(halfway, infinity)), up);
  }
}

// Every bf16 number, and random fp32 numbers near the range of e4m3.
TEST(Fp8, AgreesWithTheOtherCodec) {
  const auto expect_same = [](float value) {
    ASSERT_EQ(float_to_e4m3(value), support::float_to_e4m3(value)) << value;
  };
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits)
    expect_same(bf16_to_float(static_cast<std::uint16_t>(bits)));
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 300'000; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    expect_same(std::bit_cast<float>((bits & 0x807fffffu) | ((112 + (bits >> 23) % 28) << 23)));
  }
}

TEST(Fp8, ClampsWhatIsTooLargeAndKeepsNan) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const float value : {448.0f, 449.0f, 464.0f, 1e30f, infinity}) {
    EXPECT_EQ(float_to_e4m3(value), 0x7e);
    EXPECT_EQ(float_to_e4m3(-value), 0xfe);
  }
  EXPECT_EQ(float_to_e4m3(std::numeric_limits<float>::quiet_NaN()) & 0x7f, 0x7f);
  EXPECT_EQ(float_to_e4m3(std::bit_cast<float>(0xff800001u)), 0xff);
}

}  // namespace
}  // namespace flashmla
