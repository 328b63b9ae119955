// How rows are divided among thread blocks: arithmetic alone, without a GPU.
#include <gtest/gtest.h>

#include "backends/cuda/row_tiles.h"
#include "support/random.h"

namespace flashmla::backends::cuda {

namespace {

TEST(RowTiles, CoverAllRowsAndFitTheGpu) {
  constexpr std::int64_t multiprocessors = 132;
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
    const RowTiles tiles(problem, multiprocessors);
    const std::int64_t tile = tiles.kernel.tile_rows;
    ASSERT_GE(tiles.tiles * tile, tiles.rows);
    ASSERT_LT((tiles.tiles - 1) * tile, tiles.rows);
    ASSERT_EQ(tiles.tiles % tiles.kernel.cluster, 0);
    ASSERT_GE(tiles.workers, 1);
    ASSERT_GE(tiles.blocks, 1);
    ASSERT_LE(tiles.blocks * tiles.workers, std::max<std::int64_t>(multiprocessors, tiles.blocks));
  }
}

}  // namespace

}  // namespace flashmla::backends::cuda
