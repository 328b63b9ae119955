// Compares the vector conversions of every instruction set with the scalar ones, bit pattern by bit
// pattern.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "backends/cpu/isa.h"
#include "core/numeric.h"

namespace flashmla::backends::cpu {
namespace {

constexpr int row = 512;

struct Scalar {
  const char* name;
  HalfCodec KernelTable::* codec;
  float (*decode)(std::uint16_t);
  std::uint16_t (*encode)(float);
};
const Scalar scalars[] = {{"bf16", &KernelTable::bf16, bf16_to_float, float_to_bf16},
                          {"fp16", &KernelTable::fp16, fp16_to_float, float_to_fp16}};

struct alignas(scratch_alignment) Row {
  float elements[row];
};

class Kernels : public ::testing::TestWithParam<const KernelTable*> {
 protected:
  const KernelTable& kernels() const { return *GetParam(); }

  // The place of element i of a row in pair-split order. It is found by loading a row of marks.
  std::vector<int> positions() const {
    std::vector<std::uint16_t> marks(row);
    for (int i = 0; i < row; ++i)
      marks[i] = float_to_fp16(static_cast<float>(i));
    Row loaded;
    kernels().fp16.load(marks.data(), loaded.elements, row, 1.0f);
    std::vector<int> position(row, -1);
    for (int i = 0; i < row; ++i)
      position[static_cast<int>(loaded.elements[i])] = i;
    return position;
  }
};

TEST_P(Kernels, PairSplitOrderIsAPermutation) {
  for (const int position : positions())
    EXPECT_GE(position, 0);
}

TEST_P(Kernels, LoadsEveryPattern) {
  const std::vector<int> position = positions();
  for (const Scalar& scalar : scalars)
    for (int first = 0; first < 0x10000; first += row) {
      std::vector<std::uint16_t> patterns(row);
      for (int i = 0; i < row; ++i)
        patterns[i] = static_cast<std::uint16_t>(first + i);
      Row loaded;
      (kernels().*scalar.codec).load(patterns.data(), loaded.elements, row, 1.0f);
      for (int i = 0; i < row; ++i) {
        const float expected = scalar.decode(patterns[i]);
        const float got = loaded.elements[position[i]];
        if (std::isnan(expected))
          ASSERT_TRUE(std::isnan(got)) << scalar.name << " " << first + i;
        else
          ASSERT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(expected))
              << scalar.name << " " << first + i;
      }
    }
}

TEST_P(Kernels, StoresRoundLikeTheScalarCode) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::vector<int> position = positions();
  for (const Scalar& scalar : scalars)
    for (int round = 0; round < 2000; ++round) {
      Row source;
      for (float& number : source.elements) {
        // Half of the numbers lie in the range of fp16, with its subnormals and its limit.
        const std::uint32_t bits = static_cast<std::uint32_t>(random());
        number = std::bit_cast<float>(
            bits % 2 == 0 ? bits : (bits & 0x807fffffu) | ((100 + (bits >> 23) % 45) << 23));
      }
      std::vector<std::uint16_t> stored(row);
      (kernels().*scalar.codec).store(source.elements, stored.data(), row, 1.0f);
      for (int i = 0; i < row; ++i) {
        const float number = source.elements[position[i]];
        if (std::isnan(number))
          ASSERT_TRUE(std::isnan(scalar.decode(stored[i]))) << scalar.name;
        else
          ASSERT_EQ(stored[i], scalar.encode(number)) << scalar.name << " " << number;
      }
    }
}

// Every code with all kinds of scales: powers of two, subnormal products, overflow, zero, NaN.
TEST_P(Kernels, LoadsEveryFp8CodeTimesItsScale) {
  const std::vector<int> position = positions();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::vector<float> scales{1.0f, 0x1p-13f, 0x1p-127f,      0x1p127f,
                            0.0f, 3e38f,    1.1754944e-38f, std::nanf("")};
  for (int i = 0; i < 200; ++i)
    scales.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random()) & 0x7f7fffffu));
  std::vector<std::uint8_t> codes(row + 1);
  for (int i = 0; i < row; ++i)
    codes[i + 1] = static_cast<std::uint8_t>(i);
  for (const float scale : scales) {
    Row loaded;
    kernels().load_e4m3(codes.data() + 1, loaded.elements, row, scale);
    for (int i = 0; i < row; ++i) {
      const float expected = bf16_to_float(float_to_bf16(e4m3_to_float(codes[i + 1]) * scale));
      const float got = loaded.elements[position[i]];
      if (std::isnan(expected))
        ASSERT_TRUE(std::isnan(got)) << i << " times " << scale;
      else
        ASSERT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(expected))
            << i << " times " << scale;
    }
  }
}

TEST_P(Kernels, ScaleAndAddScaled) {
  Row source;
  Row target;
  for (int i = 0; i < row; ++i) {
    source.elements[i] = static_cast<float>(i - 100);
    target.elements[i] = std::nanf("");
  }
  kernels().scale(source.elements, target.elements, row, 0.5f);
  kernels().add_scaled(source.elements, target.elements, row, 2.0f);
  for (int i = 0; i < row; ++i)
    ASSERT_EQ(target.elements[i], 2.5f * static_cast<float>(i - 100));
}

// One row, and one token in each call. The weight of the second token is 2^(score difference),
// which `sum` shows.
TEST_P(Kernels, ExponentialIsAccurate) {
  Row query{};
  Row cache[max_tile_tokens] = {};
  Row out{};
  query.elements[0] = 1.0f;
  for (double x = -126; x <= 0; x += 0.0137) {
    cache[0].elements[0] = 0.0f;
    cache[1].elements[0] = static_cast<float>(x);
    float scores[max_tile_tokens];
    float maximum = -std::numeric_limits<float>::infinity();
    float sum = 0;
    float rescale = 0;
    const std::int32_t visible = 2;
    kernels().attend_block({.query = query.elements,
                            .cache = cache[0].elements,
                            .visible = &visible,
                            .missing = nullptr,
                            .upcoming = nullptr,
                            .scores = scores,
                            .out = out.elements,
                            .maximum = &maximum,
                            .sum = &sum,
                            .rescale = &rescale,
                            .upcoming_rows = 0,
                            .upcoming_bytes = 0,
                            .rows = 1,
                            .tokens = 2,
                            .qk_dim = row,
                            .v_dim = row});
    const double expected = x < -125 ? 0.0 : std::exp2(static_cast<double>(static_cast<float>(x)));
    ASSERT_EQ(scores[0], 1.0f);
    ASSERT_LE(std::fabs(scores[1] - expected), 2.0e-7 * expected) << x;
    ASSERT_EQ(maximum, 0.0f);
  }
}

std::string name_of_kernels(const ::testing::TestParamInfo<const KernelTable*>& info) {
  return info.param->name;
}

INSTANTIATE_TEST_SUITE_P(Isa, Kernels, ::testing::ValuesIn(usable_kernels()), name_of_kernels);

}  // namespace
}  // namespace flashmla::backends::cpu
