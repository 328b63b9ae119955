// Compares the codecs of support/ for all bit patterns with values that follow in double from the
// definitions of the formats.
#include "support/numeric.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/random.h"

namespace flashmla::support {
namespace {

struct Format {
  DType type;
  int exponent_bits;
  int mantissa_bits;

  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  std::uint16_t largest() const {
    return static_cast<std::uint16_t>((((1 << exponent_bits) - 1) << mantissa_bits) - 1);
  }
};

constexpr Format formats[] = {{DType::bf16, 8, 7}, {DType::fp16, 5, 10}};

float decode_one(DType type, std::uint16_t bits) {
  float value = 0;
  decode(type, {&bits, 1}, {&value, 1});
  return value;
}

std::uint16_t encode_one(DType type, float value) {
  std::uint16_t bits = 0;
  encode(type, {&value, 1}, {&bits, 1});
  return bits;
}

// The value of a finite pattern by the definition of the format.
double value_of(const Format& format, std::uint16_t bits) {
  const int exponent = (bits >> format.mantissa_bits) & ((1 << format.exponent_bits) - 1);
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  const int whole = exponent == 0 ? mantissa : mantissa + (1 << format.mantissa_bits);
  const double magnitude =
      std::ldexp(whole, std::max(exponent, 1) - format.bias() - format.mantissa_bits);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(Numeric, DecodesEveryFinitePattern) {
  for (const Format& format : formats)
    for (std::uint32_t i = 0; i <= 0xffff; ++i) {
      const auto bits = static_cast<std::uint16_t>(i);
      if ((bits & 0x7fff) > format.largest())
        continue;
      const float value = decode_one(format.type, bits);
      ASSERT_EQ(static_cast<double>(value), value_of(format, bits)) << name_of(format.type) << i;
      ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0) << name_of(format.type) << i;
      ASSERT_EQ(encode_one(format.type, value), bits) << name_of(format.type) << i;
    }
}

TEST(Numeric, KeepsInfinitiesAndNans) {
  for (const Format& format : formats)
    for (std::uint32_t i = format.largest() + 1u; i <= 0x7fff; ++i)
      for (const std::uint32_t sign : {0u, 0x8000u}) {
        const auto bits = static_cast<std::uint16_t>(i | sign);
        const float value = decode_one(format.type, bits);
        if (i == format.largest() + 1u) {
          ASSERT_EQ(value, sign != 0 ? -INFINITY : INFINITY);
          ASSERT_EQ(encode_one(format.type, value), bits);
        } else {
          ASSERT_TRUE(std::isnan(value)) << name_of(format.type) << i;
          ASSERT_TRUE(std::isnan(decode_one(format.type, encode_one(format.type, value))));
        }
      }
}

// The midpoint of two neighbours is rounded to the even one. A number beside the midpoint is
// rounded to the nearer neighbour.
TEST(Numeric, RoundsToNearestEven) {
  for (const Format& format : formats)
    for (std::uint16_t bits = 0; bits < format.largest(); ++bits) {
      const auto next = static_cast<std::uint16_t>(bits + 1);
      const auto middle = static_cast<float>((value_of(format, bits) + value_of(format, next)) / 2);
      const std::uint16_t even = bits % 2 == 0 ? bits : next;
      ASSERT_EQ(encode_one(format.type, middle), even) << name_of(format.type) << bits;
      ASSERT_EQ(encode_one(format.type, std::nextafter(middle, 0.0f)), bits);
      ASSERT_EQ(encode_one(format.type, std::nextafter(middle, INFINITY)), next);
      ASSERT_EQ(encode_one(format.type, -middle), even | 0x8000);
    }
}

TEST(Numeric, OverflowsHalfAUnitBeyondTheLargest) {
  for (const Format& format : formats) {
    const double largest = value_of(format, format.largest());
    const double unit = std::ldexp(1.0, std::ilogb(largest) - format.mantissa_bits);
    const auto limit = static_cast<float>(largest + unit / 2);
    EXPECT_EQ(encode_one(format.type, std::nextafter(limit, 0.0f)), format.largest());
    EXPECT_EQ(encode_one(format.type, limit), format.largest() + 1);
    EXPECT_EQ(encode_one(format.type, std::numeric_limits<float>::max()), format.largest() + 1);
  }
}

TEST(Numeric, ScalarsSpansAndRoundingAgree) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  std::vector<float> values(1001);
  fill_normal(values, seed);
  for (const Format& format : formats) {
    const bool half = format.type == DType::fp16;
    std::vector<std::uint16_t> bits(values.size());
    std::vector<float> decoded(values.size());
    std::vector<float> rounded = values;
    encode(format.type, values, bits);
    decode(format.type, bits, decoded);
    round_through(format.type, rounded);
    EXPECT_EQ(decoded, rounded);
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(half ? float_to_fp16(values[i]) : float_to_bf16(values[i]), bits[i]);
      ASSERT_EQ(half ? fp16_to_float(bits[i]) : bf16_to_float(bits[i]), decoded[i]);
    }
  }
}

}  // namespace
}  // namespace flashmla::support
