// The tensors of a case follow from the case alone. Everything on which no result may depend is
// poisoned.
#include "support/generate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "support/dense_suite.h"
#include "support/numeric.h"
#include "support/random.h"

namespace flashmla::support {
namespace {

DenseCase some_case(std::uint64_t seed) {
  DenseCase c;
  c.seed = seed;
  c.lengths = {0, 1, 63, 64, 65, 200};
  c.query_tokens = 3;
  c.query_heads = 6;
  c.kv_heads = 2;
  c.page_size = 16;
  c.spare_pages = 3;
  c.sink = true;
  c.q_padding = c.cache_padding = c.out_padding = c.table_padding = 5;
  return c;
}

float number(DType type, std::uint16_t bits) {
  return type == DType::fp16 ? fp16_to_float(bits) : bf16_to_float(bits);
}

bool finite_row(const DenseCase& c, const std::uint16_t* row) {
  for (std::int64_t d = 0; d < c.qk_dim; ++d)
    if (!(std::abs(number(c.type, row[d])) < 3.5f))
      return false;
  return true;
}

TEST(Generate, FollowsFromTheCaseAlone) {
  HostMemory memory;
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  DenseTensors a(some_case(seed), memory);
  DenseTensors b(some_case(seed), memory);
  DenseTensors other(some_case(seed + 1), memory);
  EXPECT_EQ(a.q.buffer.download(), b.q.buffer.download());
  EXPECT_EQ(a.kv_cache.buffer.download(), b.kv_cache.buffer.download());
  EXPECT_EQ(a.block_table.buffer.download(), b.block_table.buffer.download());
  EXPECT_EQ(a.attn_sink.buffer.download(), b.attn_sink.buffer.download());
  EXPECT_NE(a.q.buffer.download(), other.q.buffer.download());
  EXPECT_NE(a.kv_cache.buffer.download(), other.kv_cache.buffer.download());
  EXPECT_NE(a.block_table.buffer.download(), other.block_table.buffer.download());
}

// Counts the finite elements, which are those on which a result may depend.
TEST(Generate, EverythingElseIsPoison) {
  HostMemory memory;
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  for (const DType type : {DType::bf16, DType::fp16})
    for (const bool permuted : {false, true}) {
      DenseCase c = some_case(seed);
      c.type = type;
      c.permuted = permuted;
      DenseTensors tensors(c, memory);
      std::int64_t tokens = 0;
      for (std::int64_t r = 0; r < c.batch(); ++r) {
        const std::int64_t length = c.lengths[r];
        tokens += length;
        for (std::int64_t j = 0; j < length; ++j)
          for (std::int64_t h = 0; h < c.kv_heads; ++h)
            ASSERT_TRUE(finite_row(c, tensors.cached_row(r, j, h)));
        for (std::int64_t t = 0; t < c.query_tokens; ++t)
          for (std::int64_t h = 0; h < c.query_heads; ++h)
            ASSERT_TRUE(finite_row(c, tensors.query_row(r, t, h)));
      }
      const auto finite = [&](GuardedTensor& tensor) {
        std::int64_t count = 0;
        for (const std::uint16_t bits : tensor.buffer.image_as<std::uint16_t>())
          count += std::isfinite(number(type, bits)) ? 1 : 0;
        return count;
      };
      EXPECT_EQ(finite(tensors.kv_cache), tokens * c.kv_heads * c.qk_dim);
      EXPECT_EQ(finite(tensors.q), c.rows() * c.qk_dim);
      EXPECT_EQ(finite(tensors.out), 0);
      for (const float lse : tensors.lse.buffer.image_as<float>())
        ASSERT_TRUE(std::isnan(lse));
      EXPECT_GT(tensors.kv_cache.buffer.bytes() / 2,
                static_cast<std::size_t>(tokens * c.kv_heads * c.qk_dim));
    }
}

TEST(Generate, RowsAreUnitScaleAndDistinct) {
  HostMemory memory;
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const DenseCase c = some_case(seed);
  DenseTensors tensors(c, memory);
  std::set<std::vector<std::uint16_t>> rows;
  double squares = 0;
  for (std::int64_t j = 0; j < 200; ++j)
    for (std::int64_t h = 0; h < c.kv_heads; ++h) {
      const std::uint16_t* row = tensors.cached_row(5, j, h);
      rows.emplace(row, row + c.qk_dim);
      for (std::int64_t d = 0; d < c.qk_dim; ++d)
        squares += std::pow(bf16_to_float(row[d]), 2);
    }
  EXPECT_EQ(rows.size(), 400u);
  EXPECT_NEAR(squares / (400 * 576), 1, 0.02);
}

TEST(Generate, TableNamesDistinctPagesAndNoneBeyondALength) {
  HostMemory memory;
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const DenseCase c = some_case(seed);
  DenseTensors tensors(c, memory);
  const std::int64_t blocks = tensors.kv_cache.view.shape[0];
  const std::span entries = tensors.block_table.buffer.image_as<std::int32_t>();
  std::vector<bool> counted(entries.size());
  std::set<std::int32_t> used;
  std::size_t pages = 0;
  for (std::int64_t r = 0; r < c.batch(); ++r)
    for (std::int64_t i = 0; i * c.page_size < c.lengths[r]; ++i) {
      const auto place = static_cast<std::size_t>(offset_of(tensors.block_table.view, {r, i}));
      counted[place] = true;
      ASSERT_TRUE(entries[place] >= 0 && entries[place] < blocks);
      used.insert(entries[place]);
      ++pages;
    }
  EXPECT_EQ(used.size(), pages);
  EXPECT_LT(static_cast<std::int64_t>(used.size()), blocks);
  for (std::size_t i = 0; i < entries.size(); ++i)
    ASSERT_TRUE(counted[i] || entries[i] < 0 || entries[i] >= blocks) << entries[i];
}

TEST(Generate, SharedPagesAreSharedAndWhole) {
  DenseCase c;
  c.seed = fresh_seed();
  SCOPED_TRACE(c.seed);
  c.lengths = {320, 320, 70};
  c.shared_pages = true;
  const PageAssignment shared = assign_pages(c);
  EXPECT_EQ(shared.pages[0].size(), 5u);
  EXPECT_EQ(shared.pages[1][0], shared.pages[0][0]);
  EXPECT_EQ(shared.pages[1][1], shared.pages[0][1]);
  EXPECT_NE(shared.pages[1][2], shared.pages[0][2]);
  EXPECT_NE(shared.pages[2][0], shared.pages[0][0]);
  c.shared_pages = false;
  EXPECT_NE(assign_pages(c).pages[1][0], assign_pages(c).pages[0][0]);
}

TEST(Generate, StridesLeaveNoTwoElementsOnOnePlace) {
  HostMemory memory;
  for (const std::int64_t padding : {0, 3})
    for (const bool permuted : {false, true}) {
      DenseCase c = some_case(1);
      c.cache_padding = padding;
      c.permuted = permuted;
      const DenseTensors tensors(c, memory);
      const TensorView& cache = tensors.kv_cache.view;
      std::set<std::int64_t> starts;
      for (std::int64_t block = 0; block < cache.shape[0]; ++block)
        for (std::int64_t token = 0; token < c.page_size; ++token)
          for (std::int64_t head = 0; head < c.kv_heads; ++head)
            starts.insert(offset_of(cache, {block, token, head, 0}));
      EXPECT_EQ(static_cast<std::int64_t>(starts.size()),
                cache.shape[0] * c.page_size * c.kv_heads);
      std::int64_t last = -c.qk_dim - padding;
      for (const std::int64_t start : starts) {
        ASSERT_GE(start, last + c.qk_dim + padding);
        last = start;
      }
      EXPECT_LE(last + c.qk_dim, static_cast<std::int64_t>(tensors.kv_cache.buffer.bytes() / 2));
    }
}

}  // namespace
}  // namespace flashmla::support
