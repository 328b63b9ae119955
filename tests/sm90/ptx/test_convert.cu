// Conversions of e4m3, choices of bytes, packed products and packed maxima, beside the host's.
#include "sm90/ptx/convert.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "core/numeric.h"
#include "support/random.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ptx {

namespace {

using test::Memory;

class Convert : public test::DeviceTest {};

struct Packed {
  const float* values;
  std::uint16_t* codes;  // of value i, which is the low one, and of −value i

  FLASHMLA_DEVICE void operator()(int i) const { codes[i] = pack_e4m3(values[i], -values[i]); }
};

// Every bf16 number, fp32 numbers around the range of e4m3, and the points halfway between codes.
std::vector<float> numbers() {
  std::vector<float> values;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits)
    values.push_back(bf16_to_float(static_cast<std::uint16_t>(bits)));
  support::Random random(support::fresh_seed());
  for (int i = 0; i < 200'000; ++i)
    values.push_back(
        std::bit_cast<float>(static_cast<std::uint32_t>(random.next() & 0x807fffff) |
                             static_cast<std::uint32_t>(random.between(112, 140)) << 23));
  for (int code = 0; code < 0x7e; ++code) {
    const float low = e4m3_to_float(static_cast<std::uint8_t>(code));
    const float halfway = (low + e4m3_to_float(static_cast<std::uint8_t>(code + 1))) / 2;
    for (const float value :
         {std::nextafter(halfway, 0.0f), halfway, std::nextafter(halfway, 1e3f)})
      values.push_back(value);
  }
  return values;
}

TEST_F(Convert, PackE4m3RoundsAsTheHostDoes) {
  const std::vector<float> values = numbers();
  Memory<float> given(values);
  Memory<std::uint16_t> packed(values.size());
  test::run_threads(static_cast<int>(values.size()), Packed{given.data(), packed.data()});
  const std::vector<std::uint16_t> codes = packed.read();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const int low = codes[i] & 0xff;
    const int high = codes[i] >> 8;
    if (std::isnan(values[i])) {
      ASSERT_EQ(low, 0x7f);
      ASSERT_EQ(high, 0x7f);
    } else {
      ASSERT_EQ(low, float_to_e4m3(values[i])) << values[i];
      ASSERT_EQ(high, float_to_e4m3(-values[i])) << -values[i];
    }
  }
}

struct Unpacked {
  std::uint32_t* halves;
  FLASHMLA_DEVICE void operator()(int i) const {
    halves[i] = unpack_e4m3(static_cast<std::uint16_t>(i | (255 - i) << 8));
  }
};

TEST_F(Convert, UnpackE4m3IsExact) {
  Memory<std::uint32_t> memory(256);
  test::run_threads(256, Unpacked{memory.data()});
  const std::vector<std::uint32_t> halves = memory.read();
  for (int i = 0; i < 256; ++i)
    for (const bool high : {false, true}) {
      const float wanted = e4m3_to_float(static_cast<std::uint8_t>(high ? 255 - i : i));
      const float found = fp16_to_float(static_cast<std::uint16_t>(halves[i] >> (high ? 16 : 0)));
      if (std::isnan(wanted))
        EXPECT_TRUE(std::isnan(found)) << i;
      else
        EXPECT_EQ(std::bit_cast<std::uint32_t>(found), std::bit_cast<std::uint32_t>(wanted)) << i;
    }
}

struct ChosenBytes {
  const std::uint32_t* words;
  const std::uint32_t* selectors;
  std::uint32_t* chosen;
  FLASHMLA_DEVICE void operator()(int i) const { chosen[i] = choose_bytes(words[i], selectors[i]); }
};

// Byte `digit` of a word, or, with 8 added, eight times its sign.
std::uint32_t byte_of(std::uint32_t word, std::uint32_t digit) {
  const std::uint32_t byte = word >> 8 * (digit & 3) & 0xff;
  return digit < 8 ? byte : byte >> 7 == 1 ? 0xff : 0;
}

TEST_F(Convert, ChooseBytesOrTheirSigns) {
  constexpr int count = 10000;
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  std::vector<std::uint32_t> words(count);
  std::vector<std::uint32_t> selectors(count);
  for (int i = 0; i < count; ++i) {
    words[i] = static_cast<std::uint32_t>(random.next());
    selectors[i] = static_cast<std::uint32_t>(random.next() & 0xbbbb);  // digits 0 … 3, 8 … 11
  }
  Memory<std::uint32_t> given(words);
  Memory<std::uint32_t> how(selectors);
  Memory<std::uint32_t> chosen(count);
  test::run_threads(count, ChosenBytes{given.data(), how.data(), chosen.data()});
  const std::vector<std::uint32_t> found = chosen.read();
  for (int i = 0; i < count; ++i)
    for (int byte = 0; byte < 4; ++byte)
      ASSERT_EQ(found[i] >> 8 * byte & 0xff, byte_of(words[i], selectors[i] >> 4 * byte & 0xf))
          << "byte " << byte << " of " << words[i] << " by " << selectors[i];
}

struct Products {
  const std::uint32_t* a;
  const std::uint32_t* b;
  std::uint32_t* products;
  FLASHMLA_DEVICE void operator()(int i) const { products[i] = multiply_bf16x2(a[i], b[i]); }
};

// The product of two bf16 numbers, rounded once. In fp32 a small one would be rounded twice.
std::uint16_t product_of(std::uint16_t a, std::uint16_t b) {
  const double exact = static_cast<double>(bf16_to_float(a)) * bf16_to_float(b);
  if (std::abs(exact) >= 0x1p128)
    return static_cast<std::uint16_t>(exact > 0 ? 0x7f80 : 0xff80);
  const double grid = std::abs(exact) < 0x1p-126 ? std::rint(exact * 0x1p133) * 0x1p-133 : exact;
  return float_to_bf16(static_cast<float>(grid));
}

TEST_F(Convert, ProductsOfBf16AreRoundedOnce) {
  constexpr int count = 400'000;
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  std::vector<std::uint32_t> a(count);
  std::vector<std::uint32_t> b(count);
  for (int i = 0; i < count; ++i) {
    a[i] = static_cast<std::uint32_t>(random.next());
    b[i] = static_cast<std::uint32_t>(random.next());
    if (i % 4 == 0)  // subnormal numbers times large ones, as dequantise.h needs them
      a[i] &= 0x807f807fu;
    if (i % 8 == 0)
      b[i] |= 0x40004000u;
  }
  Memory<std::uint32_t> left(a);
  Memory<std::uint32_t> right(b);
  Memory<std::uint32_t> products(count);
  test::run_threads(count, Products{left.data(), right.data(), products.data()});
  const std::vector<std::uint32_t> found = products.read();
  for (int i = 0; i < count; ++i)
    for (const int shift : {0, 16}) {
      const auto x = static_cast<std::uint16_t>(a[i] >> shift);
      const auto y = static_cast<std::uint16_t>(b[i] >> shift);
      const auto got = static_cast<std::uint16_t>(found[i] >> shift);
      const std::uint16_t wanted = product_of(x, y);
      if (std::isnan(bf16_to_float(wanted)))
        ASSERT_TRUE(std::isnan(bf16_to_float(got))) << x << " times " << y;
      else
        ASSERT_EQ(got, wanted) << bf16_to_float(x) << " times " << bf16_to_float(y);
    }
}

struct Larger {
  const std::uint32_t* words;
  std::uint32_t* larger;  // of word i and the one behind it
  FLASHMLA_DEVICE void operator()(int i) const {
    larger[i] = max_signed_halves(words[i], words[i + 1]);
  }
};

TEST_F(Convert, MaxOfSignedHalves) {
  constexpr int count = 10000;
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  std::vector<std::uint32_t> words(count + 1);
  for (std::uint32_t& word : words)
    word = static_cast<std::uint32_t>(random.next());
  Memory<std::uint32_t> given(words);
  Memory<std::uint32_t> larger(count);
  test::run_threads(count, Larger{given.data(), larger.data()});
  const std::vector<std::uint32_t> found = larger.read();
  for (int i = 0; i < count; ++i)
    for (const int shift : {0, 16})
      ASSERT_EQ(static_cast<std::int16_t>(found[i] >> shift),
                std::max(static_cast<std::int16_t>(words[i] >> shift),
                         static_cast<std::int16_t>(words[i + 1] >> shift)));
}

}  // namespace

}  // namespace flashmla::sm90::ptx
