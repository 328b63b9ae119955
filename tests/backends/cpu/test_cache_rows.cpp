#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/thread_pool.h"

namespace flashmla::backends::cpu {
namespace {

constexpr std::uint16_t poison = 0x7fff;

struct Shape {
  std::int64_t blocks, page, heads, dim, rows, gap;
};

// Appends to a poisoned cache with strides, and compares every element with a copy that plain loops
// make. Slots are distinct. Every third slot lies outside the cache.
void expect_append(const Shape& s, unsigned seed) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::int64_t head_stride = s.dim + s.gap;
  const std::int64_t row_stride = head_stride * s.heads + s.gap;
  const std::int64_t block_stride = row_stride * s.page + s.gap;
  const std::int64_t source_stride = head_stride * s.heads + 2 * s.gap;
  std::vector<std::uint16_t> cache(s.blocks * block_stride, poison);
  std::vector<std::uint16_t> rows(s.rows * source_stride);
  for (auto& element : rows)
    element = static_cast<std::uint16_t>(random() & 0x7bff);
  std::vector<std::int64_t> slots(s.blocks * s.page);
  for (std::size_t i = 0; i < slots.size(); ++i)
    slots[i] = static_cast<std::int64_t>(i);
  std::shuffle(slots.begin(), slots.end(), random);
  slots.resize(s.rows);
  const std::int64_t outside[] = {-1, s.blocks * s.page, std::numeric_limits<std::int64_t>::max(),
                                  std::numeric_limits<std::int64_t>::min()};
  for (std::size_t i = 2; i < slots.size(); i += 3)
    slots[i] = outside[random() % 4];

  std::vector<std::uint16_t> expected = cache;
  for (std::int64_t row = 0; row < s.rows; ++row)
    if (slots[row] >= 0 && slots[row] < s.blocks * s.page)
      for (std::int64_t head = 0; head < s.heads; ++head)
        for (std::int64_t d = 0; d < s.dim; ++d)
          expected[slots[row] / s.page * block_stride + slots[row] % s.page * row_stride +
                   head * head_stride + d] = rows[row * source_stride + head * head_stride + d];
  cpu_backend().append(
      {cache.data(),
       DType::bf16,
       {s.blocks, s.page, s.heads, s.dim},
       {block_stride, row_stride, head_stride, 1}},
      KvFormat::bf16,
      {rows.data(), DType::bf16, {s.rows, s.heads, s.dim}, {source_stride, head_stride, 1}},
      {slots.data(), DType::i64, {s.rows}}, nullptr);
  EXPECT_TRUE(cache == expected);
}

TEST(Append, WritesRowsToTheirSlotsAndNothingElse) {
  for (const std::int64_t page : {1, 3, 64})
    expect_append({.blocks = 9, .page = page, .heads = 2, .dim = 576, .rows = 7, .gap = 5},
                  std::random_device{}());
  expect_append({.blocks = 4, .page = 16, .heads = 1, .dim = 512, .rows = 60, .gap = 0},
                std::random_device{}());
}

TEST(Append, WorksInParallel) {
  set_threads(5);
  expect_append({.blocks = 100, .page = 64, .heads = 1, .dim = 576, .rows = 6000, .gap = 0},
                std::random_device{}());
  set_threads(0);
}

// One thread copies all rows of a slot in their order, so that the last one stays.
TEST(Append, ASlotThatIsNamedTwiceGetsItsLastRow) {
  set_threads(4);
  const std::int64_t count = 8001;
  std::vector<std::uint16_t> rows(count * 576);
  for (std::int64_t i = 0; i < count * 576; ++i)
    rows[i] = static_cast<std::uint16_t>(i / 576);
  std::vector<std::int64_t> slots(count, 1);
  for (int repetition = 0; repetition < 10; ++repetition) {
    std::vector<std::uint16_t> cache(2 * 576, poison);
    cpu_backend().append({cache.data(), DType::bf16, {1, 2, 1, 576}}, KvFormat::bf16,
                         {rows.data(), DType::bf16, {count, 1, 576}},
                         {slots.data(), DType::i64, {count}}, nullptr);
    for (std::int64_t d = 0; d < 576; ++d) {
      ASSERT_EQ(cache[d], poison);
      ASSERT_EQ(cache[576 + d], count - 1);
    }
  }
  set_threads(0);
}

}  // namespace
}  // namespace flashmla::backends::cpu
