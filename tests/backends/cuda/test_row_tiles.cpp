// How rows are divided among thread blocks. The test needs no GPU.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <tuple>

#include "backends/cuda/load_kernel.h"
#include "backends/cuda/row_tiles.h"
#include "gpu/device_info.h"
#include "support/dense_suite.h"
#include "support/random.h"
#include "tests/backends/cuda/gpu_case.h"

namespace flashmla::backends::cuda {

namespace {

// An H100, of whose multiprocessors 12 have no room for a cluster of four.
constexpr std::int64_t multiprocessors = 132;
constexpr std::int64_t clusters_of_four = 30;
constexpr TileDevice h100{.index = 0,
                          .multiprocessors = multiprocessors,
                          .memory_rate = 3.35e12,
                          .max_clusters_of_four = [](std::int32_t) { return clusters_of_four; }};

// The tiles on an H100 with at most this many workers; 0: no limit.
TileDevice limited_to(std::int32_t max_workers) {
  TileDevice device = h100;
  if (max_workers > 0)
    device.multiprocessors = max_workers;
  return device;
}

// 128 requests of two query tokens with 128 heads: four tiles each.
Problem two_tokens() {
  Problem problem;
  problem.batch = 128;
  problem.query_tokens = 2;
  problem.query_heads = 128;
  problem.max_pages = 1000;
  return problem;
}

TEST(RowTiles, CoverAllRowsAndFitTheGpu) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  for (int i = 0; i < 20000; ++i) {
    Problem problem;
    problem.batch = random.log_between(1, 5000) - 1;
    problem.max_pages = random.log_between(1, 20000);
    problem.kv_heads = random.log_between(1, 8);
    problem.query_heads = problem.kv_heads * random.log_between(1, 128);
    problem.query_tokens = random.log_between(1, 700);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << describe(problem));
    const RowTiles tiles(problem, h100);
    const std::int64_t tile = tiles.kernel.tile_rows;
    ASSERT_GE(tiles.tiles * tile, tiles.rows);
    ASSERT_LT((tiles.tiles - 1) * tile, tiles.rows);
    ASSERT_EQ(tiles.tiles % tiles.kernel.cluster, 0);
    ASSERT_GE(tiles.workers, 1);
    ASSERT_GE(tiles.blocks, 1);
    ASSERT_LE(tiles.blocks * tiles.workers, std::max<std::int64_t>(multiprocessors, tiles.blocks));
    ASSERT_LE(tiles.fast_workers, tiles.workers);
    if (tiles.fast_workers > 0) {
      ASSERT_EQ(tiles.total, 4);
      ASSERT_EQ(tiles.kernel.cluster, 2);
    }
  }
}

TEST(RowTiles, ClustersOfFourGoBesideThoseOfTwo) {
  const RowTiles tiles(two_tokens(), h100);
  EXPECT_STREQ(tiles.kernel.name, "seesaw");
  EXPECT_EQ(tiles.kernel.cluster, 2);
  EXPECT_EQ(tiles.workers, 33);
  EXPECT_EQ(tiles.fast_workers, 30);
  EXPECT_EQ(tiles.speeds().fast_workers, 30);
  EXPECT_EQ(tiles.speeds().fast, schedule::speed_of_cluster_of_four);
  EXPECT_EQ(tiles.speeds().slow, schedule::speed_of_cluster_of_two);
}

TEST(RowTiles, ClustersOfFourAloneWhereTheyFitEverywhere) {
  TileDevice device = h100;
  device.max_clusters_of_four = [](std::int32_t) -> std::int64_t { return 33; };
  const RowTiles tiles(two_tokens(), device);
  EXPECT_EQ(tiles.workers, 33);
  EXPECT_EQ(tiles.fast_workers, 33);
}

TEST(RowTiles, NoClustersOfFourWhereNoneFits) {
  TileDevice device = h100;
  device.max_clusters_of_four = [](std::int32_t) -> std::int64_t { return 0; };
  const RowTiles tiles(two_tokens(), device);
  EXPECT_EQ(tiles.fast_workers, 0);
  EXPECT_EQ(tiles.speeds().total(33), 33);
}

// The GPU is not asked how many clusters fit on it.
TEST(RowTiles, NoClustersOfFourWhereAnythingThatTheyNeedIsMissing) {
  TileDevice device = h100;
  device.max_clusters_of_four = [](std::int32_t) -> std::int64_t {
    ADD_FAILURE() << "was asked how many fit";
    return clusters_of_four;
  };
  const auto expect_none = [&](const char* what, const auto& spoil) {
    SCOPED_TRACE(what);
    Problem problem = two_tokens();
    ASSERT_GT(RowTiles(problem, h100).fast_workers, 0);
    spoil(problem);
    EXPECT_EQ(RowTiles(problem, device).fast_workers, 0);
  };
  expect_none("two tiles", [](Problem& p) { p.query_tokens = 1; });
  expect_none("six tiles", [](Problem& p) { p.query_tokens = 3; });
  expect_none("four tiles of 16 rows", [](Problem& p) {
    p.query_tokens = 1;
    p.query_heads = 64;
    p.batch = 2;
    p.max_pages = 4;
  });
  expect_none("two KV heads of two tiles", [](Problem& p) { p.kv_heads = 2; });
  expect_none("as many requests as workers", [](Problem& p) { p.batch = 33; });
  expect_none("no request", [](Problem& p) { p.batch = 0; });
  expect_none("short requests", [](Problem& p) { p.max_pages = 64; });
  expect_none("pages of half a block", [](Problem& p) { p.page_size = 32; });
  expect_none("pages of a block and a half", [](Problem& p) { p.page_size = 96; });
  expect_none("batch-invariant", [](Problem& p) { p.batch_invariant = true; });
  expect_none("a limit of workers", [](Problem& p) { p.max_workers = multiprocessors; });
}

// A name like "seesaw 64 x 2" has the rows of a tile and the cluster size.
std::string key_of(const sm90::dense_decode::Kernel& kernel) {
  return std::string(kernel.name) + " " + std::to_string(kernel.tile_rows) + " x " +
         std::to_string(kernel.cluster);
}

// Every instance of a decoding kernel, with pages of whole blocks and with smaller pages.
TEST(RowTiles, TheSanitizerSuiteReachesEveryKernel) {
  const support::DenseSuite suite(support::SuiteSize::sanitizer, 1);
  std::set<std::tuple<std::string, DType, std::int64_t, bool>> reached;
  for (std::int64_t i = 0; i < suite.cases(); ++i) {
    const support::DenseCase c = suite.draw(i);
    const RowTiles tiles(problem_of(c, {DeviceType::cuda, 0}), limited_to(c.max_workers));
    reached.insert({key_of(tiles.kernel), c.type, c.qk_dim, c.page_size < 64});
    if (tiles.fast_workers > 0)
      reached.insert({"seesaw 64 x 4", c.type, c.qk_dim, c.cache_padding % 8 != 0});
  }
  for (const char* kernel : {"swap_ab 16 x 1", "swap_ab 32 x 1", "swap_ab 16 x 2", "swap_ab 32 x 2",
                             "seesaw 64 x 1", "seesaw 64 x 2"})
    for (const DType type : {DType::bf16, DType::fp16})
      for (const std::int64_t qk_dim : {576, 512})
        for (const bool small_pages : {false, true})
          EXPECT_TRUE(reached.contains({kernel, type, qk_dim, small_pages}))
              << kernel << ", " << name_of(type) << ", " << qk_dim << ", " << small_pages;
  // Clusters of four have no instance for small pages, but one that gathers single rows.
  for (const DType type : {DType::bf16, DType::fp16})
    for (const std::int64_t qk_dim : {576, 512})
      for (const bool gathered : {false, true})
        EXPECT_TRUE(reached.contains({"seesaw 64 x 4", type, qk_dim, gathered}))
            << name_of(type) << ", " << qk_dim << ", " << gathered;
}

// The memory rate of the GPU, which the choice of tiles uses, must be that of a Hopper GPU: 2 … 4.9
// TB/s.
using RowTilesOfDevice = GpuTest;
TEST_F(RowTilesOfDevice, KnowTheRateOfItsMemory) {
  const double rate = gpu::devices().list.at(0).memory_bytes_per_second;
  EXPECT_GT(rate, 1.5e12);
  EXPECT_LT(rate, 6e12);
}

// Clusters of four must fit on most multiprocessors of the GPU.
TEST_F(RowTilesOfDevice, KnowHowManyFoursFit) {
  const std::int64_t fit = max_clusters_of_four(0);
  const std::int64_t all = gpu::devices().list.at(0).multiprocessors;
  EXPECT_GE(4 * fit, all / 2);
  EXPECT_LE(4 * fit, all);
  EXPECT_EQ(max_clusters_of_four(0), fit);
}

}  // namespace

}  // namespace flashmla::backends::cuda
