// Conversions of e4m3 and packed maxima, beside the host's.
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
