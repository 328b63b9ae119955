// How rows are divided among thread blocks: arithmetic alone, without a GPU.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <tuple>

#include "backends/cuda/row_tiles.h"
#include "cuda/device_info.h"
#include "support/dense_suite.h"
#include "support/random.h"
#include "tests/backends/cuda/gpu_case.h"

namespace flashmla::backends::cuda {

namespace {

// An H100.
constexpr std::int64_t multiprocessors = 132;
constexpr double memory_rate = 3.35e12;

TEST(RowTiles, CoverAllRowsAndFitTheGpu) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  for (int i = 0; i < 20000; ++i) {
    Problem problem;
    problem.batch = random.log_between(1, 5000) - 1;
    problem.max_blocks = random.log_between(1, 20000);
    problem.kv_heads = random.log_between(1, 8);
    problem.query_heads = problem.kv_heads * random.log_between(1, 128);
    problem.query_tokens = random.log_between(1, 700);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << describe(problem));
    const RowTiles tiles(problem, multiprocessors, memory_rate);
    const std::int64_t tile = tiles.kernel.tile_rows;
    ASSERT_GE(tiles.tiles * tile, tiles.rows);
    ASSERT_LT((tiles.tiles - 1) * tile, tiles.rows);
    ASSERT_EQ(tiles.tiles % tiles.kernel.cluster, 0);
    ASSERT_GE(tiles.workers, 1);
    ASSERT_GE(tiles.blocks, 1);
    ASSERT_LE(tiles.blocks * tiles.workers, std::max<std::int64_t>(multiprocessors, tiles.blocks));
  }
}

// Every instance of a decoding kernel, each with pages of whole blocks and smaller ones.
TEST(RowTiles, TheSanitizerSuiteReachesEveryKernel) {
  const support::DenseSuite suite(support::SuiteSize::sanitizer, 1);
  std::set<std::tuple<std::string, DType, std::int64_t, bool>> reached;
  for (std::int64_t i = 0; i < suite.cases(); ++i) {
    const support::DenseCase c = suite.draw(i);
    const RowTiles tiles(problem_of(c, {DeviceType::cuda, 0}),
                         c.max_workers > 0 ? c.max_workers : multiprocessors, memory_rate);
    reached.insert({tiles.kernel.name, c.type, c.qk_dim, c.page_size < 64});
  }
  for (const char* kernel : {"few_rows_16", "few_rows_32", "few_rows_16_pair", "few_rows_32_pair",
                             "many_rows", "many_rows_pair"})
    for (const DType type : {DType::bf16, DType::fp16})
      for (const std::int64_t qk_dim : {576, 512})
        for (const bool small_pages : {false, true})
          EXPECT_TRUE(reached.contains({kernel, type, qk_dim, small_pages}))
              << kernel << ", " << name_of(type) << ", " << qk_dim << ", " << small_pages;
}

// What the choice of tiles is told of the GPU: that its memory is Hopper's, 2 … 4.9 TB/s.
using RowTilesOfDevice = GpuTest;
TEST_F(RowTilesOfDevice, KnowTheRateOfItsMemory) {
  const double rate = ::flashmla::cuda::devices().list.at(0).memory_bytes_per_second;
  EXPECT_GT(rate, 1.5e12);
  EXPECT_LT(rate, 6e12);
}

}  // namespace

}  // namespace flashmla::backends::cuda
