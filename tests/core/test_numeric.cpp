// Compares every bit pattern of both types with definitions that share no code with the library. A
// value is computed from its bit fields with ldexp. Rounding searches the sorted list of all
// representable values.
#include "core/numeric.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace flashmla {
namespace {

struct Format {
  const char* name;
  int exponent_bits;
  int mantissa_bits;
  float (*decode)(std::uint16_t);
  std::uint16_t (*encode)(float);

  std::uint16_t infinity() const {
    return static_cast<std::uint16_t>(((1 << exponent_bits) - 1) << mantissa_bits);
  }
};

const Format formats[] = {{"bf16", 8, 7, bf16_to_float, float_to_bf16},
                          {"fp16", 5, 10, fp16_to_float, float_to_fp16}};

double by_fields(const Format& format, std::uint32_t bits) {
  const int mantissa = static_cast<int>(bits & ((1u << format.mantissa_bits) - 1));
  const int exponent =
      static_cast<int>((bits >> format.mantissa_bits) & ((1u << format.exponent_bits) - 1));
  const double sign = (bits & 0x8000u) != 0 ? -1 : 1;
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  if (exponent == (1 << format.exponent_bits) - 1)
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  if (exponent == 0)
    return sign * std::ldexp(mantissa, 1 - bias - format.mantissa_bits);
  return sign *
         std::ldexp(mantissa + (1 << format.mantissa_bits), exponent - bias - format.mantissa_bits);
}

// The nearest representable magnitude, found by bisection. A tie goes to the even pattern. Infinity
// has the place of the next number, as if exponents went on.
std::uint16_t by_search(const Format& format, float value) {
  const double magnitude = std::fabs(static_cast<double>(value));
  const std::uint32_t last = format.infinity();
  const auto value_of = [&](std::uint32_t bits) {
    if (bits < last)
      return by_fields(format, bits);
    return 2 * by_fields(format, last - (1u << format.mantissa_bits));
  };
  std::uint32_t low = 0;
  std::uint32_t high = last;
  while (high - low > 1) {
    const std::uint32_t middle = (low + high) / 2;
    (value_of(middle) <= magnitude ? low : high) = middle;
  }
  const double to_low = magnitude - value_of(low);
  const double to_high = value_of(high) - magnitude;
  const bool up = to_high < to_low || (to_high == to_low && high % 2 == 0);
  const std::uint32_t sign = std::signbit(value) ? 0x8000u : 0;
  return static_cast<std::uint16_t>((up ? high : low) | sign);
}

TEST(Numeric, DecodesEveryPattern) {
  for (const Format& format : formats)
    for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
      const float decoded = format.decode(static_cast<std::uint16_t>(bits));
      const double expected = by_fields(format, bits);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(decoded)) << format.name << " " << bits;
        continue;
      }
      ASSERT_EQ(static_cast<double>(decoded), expected) << format.name << " " << bits;
      ASSERT_EQ(std::signbit(decoded), (bits & 0x8000u) != 0) << format.name << " " << bits;
    }
}

TEST(Numeric, EveryPatternSurvivesARoundTrip) {
  for (const Format& format : formats)
    for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
      const auto pattern = static_cast<std::uint16_t>(bits);
      const std::uint16_t back = format.encode(format.decode(pattern));
      if (std::isnan(by_fields(format, bits)))
        ASSERT_TRUE(std::isnan(by_fields(format, back))) << format.name << " " << bits;
      else
        ASSERT_EQ(back, pattern) << format.name;
    }
}

// The midpoint of each pattern and the next one, and its two neighbours, with both signs.
TEST(Numeric, RoundsToNearestEvenAroundEveryHalfwayPoint) {
  for (const Format& format : formats)
    for (std::uint32_t bits = 0; bits + 1 < format.infinity(); ++bits) {
      const double low = by_fields(format, bits);
      const double high = by_fields(format, bits + 1);
      const auto halfway = static_cast<float>(low + (high - low) / 2);
      for (const float value : {halfway, std::nextafter(halfway, 0.0f),
                                std::nextafter(halfway, std::numeric_limits<float>::infinity())}) {
        ASSERT_EQ(format.encode(value), by_search(format, value)) << format.name << " " << value;
        ASSERT_EQ(format.encode(-value), by_search(format, -value)) << format.name << " " << value;
      }
    }
}

TEST(Numeric, RoundsRandomPatterns) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 1'000'000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    for (const Format& format : formats) {
      if (std::isnan(value))
        ASSERT_TRUE(std::isnan(by_fields(format, format.encode(value)))) << format.name;
      else
        ASSERT_EQ(format.encode(value), by_search(format, value)) << format.name << " " << value;
    }
  }
}

TEST(Numeric, OverflowsToInfinity) {
  const float largest = std::numeric_limits<float>::max();
  EXPECT_EQ(float_to_bf16(largest), 0x7f80);
  EXPECT_EQ(float_to_bf16(-largest), 0xff80);
  EXPECT_EQ(float_to_fp16(65519.996f), 0x7bff);
  EXPECT_EQ(float_to_fp16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_fp16(-largest), 0xfc00);
}

TEST(Numeric, NanStaysNanEvenWithoutUpperPayload) {
  const auto low_payload = std::bit_cast<float>(0x7f800001u);
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(low_payload))));
  EXPECT_TRUE(std::isnan(fp16_to_float(float_to_fp16(low_payload))));
}

}  // namespace
}  // namespace flashmla
