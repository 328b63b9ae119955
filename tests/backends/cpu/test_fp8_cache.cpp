// Compares append, gather, quantise and dequantise of the FP8 formats with the codec of support/,
// bit by bit. Some rows have NaN, infinities, zeros and subnormal numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "backends/cpu/thread_pool.h"
#include "core/numeric.h"
#include "flashmla/kv_cache.h"
#include "support/fp8.h"

namespace flashmla::backends::cpu {
namespace {

using support::ScaleRule;

// Pages that are further apart than their size, filled with a byte that nothing writes.
struct Fp8Cache {
  static constexpr std::int64_t blocks = 3;
  static constexpr std::int64_t gap = 48;

  KvFormat format;
  std::int64_t page;
  std::vector<std::byte> bytes;
  TensorView view;

  Fp8Cache(KvFormat format_, std::int64_t page_size, DType type = DType::u8)
      : format(format_),
        page(page_size),
        bytes(static_cast<std::size_t>(blocks * stride()), std::byte{0xa5}),
        view(bytes.data(), type, {blocks, page_size, 1, token()}, {stride(), token(), token(), 1}) {
  }

  std::int64_t token() const { return token_bytes(format, 0); }
  std::int64_t stride() const { return page * token() + gap; }
  std::int64_t capacity() const { return blocks * page; }
  std::int64_t qk_dim() const { return format_qk_dim(format); }
  std::byte* page_of(std::int64_t slot) { return bytes.data() + slot / page * stride(); }
};

void write_with_support(Fp8Cache& cache, std::int64_t slot, const std::uint16_t* row,
                        ScaleRule rule = ScaleRule::power_of_two) {
  const std::span numbers(row, static_cast<std::size_t>(cache.qk_dim()));
  support::store_token(cache.format, support::quantise_token(cache.format, numbers, rule),
                       slot % cache.page, cache.page, cache.page_of(slot));
  if (cache.format == KvFormat::v4)
    cache.page_of(slot)[cache.page * 576 + slot % cache.page * 8 + 7] = std::byte{0};
}

// Numbers of every size, with NaN, infinities, zeros and subnormals among them.
std::vector<std::uint16_t> wild_rows(std::int64_t count, std::mt19937& random) {
  std::vector<std::uint16_t> rows(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const bool any = i / 64 % 3 == 0;
    rows[i] = any ? static_cast<std::uint16_t>(random())
                  : float_to_bf16(std::ldexp(static_cast<float>(random() % 2001) - 1000.0f,
                                             static_cast<int>(i / 64 % 40) - 30));
  }
  return rows;
}

const KvFormat fp8_formats[] = {KvFormat::v32, KvFormat::v4};

TEST(Fp8Cache, AppendWritesTheBytesOfTheOtherCodec) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const KvFormat format : fp8_formats)
    for (const std::int64_t page : {1, 2, 64, 5})
      for (const DType type : {DType::u8, DType::i8, DType::e4m3}) {
        Fp8Cache cache(format, page, type);
        Fp8Cache expected(format, page);
        const std::int64_t count = cache.capacity() * 2 / 3;
        std::vector<std::int32_t> slots(static_cast<std::size_t>(cache.capacity()));
        std::iota(slots.begin(), slots.end(), 0);
        std::shuffle(slots.begin(), slots.end(), random);
        slots.resize(static_cast<std::size_t>(count));
        slots[0] = page % 2 == 0 ? -1 : static_cast<std::int32_t>(cache.capacity());
        auto rows = wild_rows(count * cache.qk_dim(), random);
        append(cache.view, format, {rows.data(), DType::bf16, {count, 1, cache.qk_dim()}},
               {slots.data(), DType::i32, {count}});
        for (std::size_t i = 1; i < slots.size(); ++i)
          write_with_support(expected, slots[i],
                             rows.data() + static_cast<std::int64_t>(i) * cache.qk_dim());
        ASSERT_TRUE(cache.bytes == expected.bytes) << name_of(format) << " page " << page;
      }
}

// Bytes that this library did not write are read as the format says.
TEST(Fp8Cache, GatherAndDequantiseReadAnyBytes) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const KvFormat format : fp8_formats)
    for (const std::int64_t page : {1, 7, 64}) {
      Fp8Cache cache(format, page);
      for (std::byte& byte : cache.bytes)
        byte = static_cast<std::byte>(random());
      const std::int64_t dim = cache.qk_dim();
      std::vector<std::int64_t> slots{-1};
      for (std::int64_t slot = cache.capacity(); slot >= 0; --slot)
        slots.push_back(slot);
      const auto count = static_cast<std::int64_t>(slots.size());
      std::vector<std::uint16_t> rows(static_cast<std::size_t>(count * dim), 0x7fff);
      std::vector<std::uint16_t> plain(static_cast<std::size_t>(cache.capacity() * dim), 0x7fff);
      gather(cache.view, format, {slots.data(), DType::i64, {count}},
             {rows.data(), DType::bf16, {count, 1, dim}});
      dequantise(cache.view, format, {plain.data(), DType::bf16, {3, page, 1, dim}});
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t slot = slots[i];
        std::vector<std::uint16_t> expected(static_cast<std::size_t>(dim), 0);
        if (slot >= 0 && slot < cache.capacity())
          expected = support::dequantise_token(
              support::fetch_token(format, slot % page, page, cache.page_of(slot)));
        for (std::int64_t d = 0; d < dim; ++d) {
          const std::uint16_t wanted = expected[d];
          const std::uint16_t got = rows[i * dim + d];
          const bool both_nan = std::isnan(bf16_to_float(wanted)) && std::isnan(bf16_to_float(got));
          ASSERT_TRUE(got == wanted || both_nan) << name_of(format) << " slot " << slot << " " << d;
          if (slot >= 0 && slot < cache.capacity()) {
            ASSERT_EQ(plain[slot * dim + d], got);
          }
        }
      }
    }
}

TEST(Fp8Cache, QuantiseIsAppendToEverySlot) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  set_threads(3);
  for (const KvFormat format : fp8_formats) {
    Fp8Cache cache(format, 70);
    Fp8Cache expected(format, 70);
    const std::int64_t dim = cache.qk_dim();
    auto plain = wild_rows(cache.capacity() * dim, random);
    quantise({plain.data(), DType::bf16, {3, 70, 1, dim}}, cache.view, format);
    for (std::int64_t slot = 0; slot < cache.capacity(); ++slot)
      write_with_support(expected, slot, plain.data() + slot * dim);
    EXPECT_TRUE(cache.bytes == expected.bytes) << name_of(format);
  }
  set_threads(0);
}

// What other quantisers write is read as bf16(e4m3 · scale).
TEST(Fp8Cache, ReadsTheScalesOfOtherQuantisers) {
  std::mt19937 random(7);
  for (const auto& [format, rule] : {std::pair{KvFormat::v32, ScaleRule::exact},
                                     std::pair{KvFormat::v4, ScaleRule::power_of_two_floor}}) {
    Fp8Cache cache(format, 4);
    const std::int64_t dim = cache.qk_dim();
    std::vector<std::uint16_t> row(static_cast<std::size_t>(dim), 0);
    for (std::int64_t d = 128; d < dim; ++d)
      row[d] = float_to_bf16(static_cast<float>(random() % 1000) * 1e-4f);
    write_with_support(cache, 5, row.data(), rule);
    std::vector<std::uint16_t> back(static_cast<std::size_t>(dim), 0x7fff);
    std::int32_t slot = 5;
    gather(cache.view, format, {&slot, DType::i32, {1}}, {back.data(), DType::bf16, {1, 1, dim}});
    const auto numbers = support::quantise_token(format, row, rule);
    EXPECT_EQ(back, support::dequantise_token(numbers));
    for (std::int64_t d = 0; d < dim; ++d) {
      const float wanted = bf16_to_float(row[d]);
      EXPECT_NEAR(bf16_to_float(back[d]), wanted, wanted / 12 + 1e-4f);
    }
  }
}

struct SpecialRow {
  const char* name;
  float number;    // the value of all elements of the first tile but the first one, which is 1
  float expected;  // the value that is read
};

TEST(Fp8Cache, SpecialNumbersAreDefined) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  // The absmax of the tile is 1 and its scale is 2^-8, so e4m3 reaches 448 / 256.
  for (const SpecialRow& special :
       {SpecialRow{"inf", infinity, 1.75f}, SpecialRow{"-inf", -infinity, -1.75f},
        SpecialRow{"zero", 0.0f, 0.0f}, SpecialRow{"subnormal", 1e-40f, 0.0f},
        SpecialRow{"nan", std::nanf(""), std::nanf("")}})
    for (const KvFormat format : fp8_formats) {
      Fp8Cache cache(format, 2);
      const std::int64_t dim = cache.qk_dim();
      std::vector<std::uint16_t> row(static_cast<std::size_t>(dim), float_to_bf16(special.number));
      row[0] = float_to_bf16(1.0f);
      std::int64_t slot = 3;
      const TensorView slots{&slot, DType::i64, {1}};
      append(cache.view, format, {row.data(), DType::bf16, {1, 1, dim}}, slots);
      std::vector<std::uint16_t> back(static_cast<std::size_t>(dim), 0x1234);
      gather(cache.view, format, slots, {back.data(), DType::bf16, {1, 1, dim}});
      EXPECT_EQ(bf16_to_float(back[0]), 1.0f) << special.name;
      if (std::isnan(special.expected))
        EXPECT_TRUE(std::isnan(bf16_to_float(back[1]))) << special.name;
      else
        EXPECT_EQ(bf16_to_float(back[1]), special.expected) << special.name;
      EXPECT_EQ(back.back(), row.back()) << special.name;  // the rotary part is not quantised
    }
}

// Tiles of nothing but zeros, NaN, infinities or subnormal numbers have the smallest scale, 2^-13.
TEST(Fp8Cache, TilesWithoutALargeNumberTakeTheSmallestScale) {
  for (const float number : {0.0f, std::nanf(""), std::numeric_limits<float>::infinity(), 1e-40f}) {
    std::vector<std::uint16_t> row(512, float_to_bf16(number));
    Fp8Cache cache(KvFormat::v4, 2);
    std::int64_t slot = 0;
    append(cache.view, KvFormat::v4, {row.data(), DType::bf16, {1, 1, 512}},
           {&slot, DType::i64, {1}});
    for (int tile = 0; tile < 7; ++tile)
      EXPECT_EQ(cache.bytes[2 * 576 + tile], std::byte{127 - 13});
  }
}

}  // namespace
}  // namespace flashmla::backends::cpu
