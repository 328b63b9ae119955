// Eight elements of an FP8 cache, quantised and dequantised, beside the host's arithmetic.
#include "sm90/ops/fp8_codec.h"

#include <algorithm>
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

class Fp8Codec : public test::DeviceTest {};

// Thread i: eight of all bf16 numbers.
struct Quantised {
  const uint4* elements;
  std::uint32_t byte;  // the scale
  uint2* codes;

  FLASHMLA_DEVICE void operator()(int i) const {
    codes[i] = quantise(elements[i], __uint_as_float(reciprocal_bits(byte)));
  }
};

std::vector<std::uint16_t> every_bf16() {
  std::vector<std::uint16_t> numbers(1 << 16);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = static_cast<std::uint16_t>(i * 40503);  // neighbours differ
  return numbers;
}

template <class Unit, class T>
std::vector<Unit> in_units(const std::vector<T>& values) {
  std::vector<Unit> units(values.size() * sizeof(T) / sizeof(Unit));
  std::memcpy(static_cast<void*>(units.data()), values.data(), values.size() * sizeof(T));
  return units;
}

TEST_F(Fp8Codec, QuantisesEveryNumberAtEveryScale) {
  const std::vector<std::uint16_t> numbers = every_bf16();
  const std::vector<uint4> units = in_units<uint4>(numbers);
  Memory<uint4> elements(units);
  for (std::uint32_t byte = 127 - 13; byte <= 247; ++byte) {
    Memory<uint2> codes(units.size());
    test::run_threads(static_cast<int>(units.size()),
                      Quantised{elements.data(), byte, codes.data()});
    const std::vector<std::uint8_t> found = in_units<std::uint8_t>(codes.read());
    const float scale = std::ldexp(1.0f, static_cast<int>(byte) - 127);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      ASSERT_EQ(found[i], float_to_e4m3(bf16_to_float(numbers[i]) / scale))
          << numbers[i] << " at the scale " << scale;
  }
}

struct Dequantised {
  const uint2* codes;
  float scale;
  uint4* elements;

  FLASHMLA_DEVICE void operator()(int i) const { elements[i] = dequantise(codes[i], scale); }
};

// All codes, each beside other ones.
std::vector<std::uint8_t> every_code() {
  std::vector<std::uint8_t> codes;
  for (int i = 0; i < 1024; ++i)
    codes.push_back(static_cast<std::uint8_t>(i * 77 + i / 256));
  return codes;
}

std::vector<std::uint16_t> dequantised(const std::vector<std::uint8_t>& codes, float scale) {
  const std::vector<uint2> units = in_units<uint2>(codes);
  Memory<uint2> given(units);
  Memory<uint4> elements(units.size());
  test::run_threads(static_cast<int>(units.size()),
                    Dequantised{given.data(), scale, elements.data()});
  return in_units<std::uint16_t>(elements.read());
}

// NaN keeps the sign of its code.
std::uint16_t wanted(std::uint8_t code, float scale) {
  if ((code & 0x7f) == 0x7f)
    return static_cast<std::uint16_t>(0x7fc0 | (code & 0x80) << 8);
  return float_to_bf16(e4m3_to_float(code) * scale);
}

TEST_F(Fp8Codec, DequantisesEveryCodeAtScalesOfAllKinds) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  std::vector<float> scales{
      0.0f,      -0.0f,     1.0f,         -1.5f,    1e-4f,
      0x1p-127f, 0x1p-149f, -0x1.8p-130f, 0x1p127f, std::numeric_limits<float>::max()};
  while (scales.size() < 500)
    if (const float scale = std::bit_cast<float>(static_cast<std::uint32_t>(random.next()));
        std::isfinite(scale))
      scales.push_back(scale);
  const std::vector<std::uint8_t> codes = every_code();
  for (const float scale : scales) {
    const std::vector<std::uint16_t> found = dequantised(codes, scale);
    for (std::size_t i = 0; i < codes.size(); ++i)
      ASSERT_EQ(found[i], wanted(codes[i], scale))
          << "code " << static_cast<int>(codes[i]) << ", scale " << scale;
  }
}

// A scale that is no finite number gives NaN and infinities as the product is.
TEST_F(Fp8Codec, ScalesThatAreNoNumbers) {
  const std::vector<std::uint8_t> codes = every_code();
  for (const float scale : {std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(), std::nanf("")}) {
    const std::vector<std::uint16_t> found = dequantised(codes, scale);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const float product = e4m3_to_float(codes[i]) * scale;
      if (std::isinf(product))
        ASSERT_EQ(found[i], float_to_bf16(product));
      else
        ASSERT_EQ(found[i] & 0x7fff, 0x7fc0) << static_cast<int>(codes[i]);
    }
  }
}

struct Largest {
  const uint4* elements;
  std::uint32_t* largest;
  FLASHMLA_DEVICE void operator()(int i) const { largest[i] = largest_magnitude(elements[i]); }
};

TEST_F(Fp8Codec, LargestMagnitudePassesOverInfinityAndNan) {
  std::vector<std::uint16_t> numbers = every_bf16();
  std::fill_n(numbers.begin(), 8, std::uint16_t{0xff80});  // nothing but infinities
  const std::vector<uint4> units = in_units<uint4>(numbers);
  Memory<uint4> elements(units);
  Memory<std::uint32_t> largest(units.size());
  test::run_threads(static_cast<int>(units.size()), Largest{elements.data(), largest.data()});
  const std::vector<std::uint32_t> found = largest.read();
  for (std::size_t i = 0; i < units.size(); ++i) {
    int magnitude = 0;
    for (std::size_t j = 8 * i; j < 8 * i + 8; ++j)
      if (std::isfinite(bf16_to_float(numbers[j])))
        magnitude = std::max(magnitude, numbers[j] & 0x7fff);
    ASSERT_EQ(found[i], magnitude + 0x80) << i;
  }
}

}  // namespace

}  // namespace flashmla::sm90::ops
