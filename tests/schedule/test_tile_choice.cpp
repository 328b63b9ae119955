// The choice of tiles: how many rows they have, and how many of them form a cluster.
#include <gtest/gtest.h>

#include "schedule/tile_choice.h"
#include "support/random.h"

namespace flashmla::schedule {

namespace {

constexpr std::int64_t multiprocessors = 132;
constexpr std::int64_t h100_memory_ps = 21994;  // 73,728 bytes at 3.35 TB/s
constexpr std::int64_t h200_memory_ps = 14994;  // at 4.92 TB/s

// Requests of at most `tokens` tokens, with one KV head.
constexpr TileQuestion question_of(std::int64_t requests, std::int64_t rows, std::int64_t tokens) {
  return {.requests = requests,
          .blocks = divide_up(tokens, 64),
          .rows = rows,
          .kv_heads = 1,
          .multiprocessors = multiprocessors,
          .memory_ps = h100_memory_ps,
          .batch_invariant = false,
          .clusters_load_once = true};
}

// The tile that takes all rows, up to 64.
constexpr Tile tile_of_all(std::int64_t rows) {
  return {rows <= 16 ? 16 : rows <= 32 ? 32 : 64, cluster_of_large_tiles(rows)};
}

constexpr Tile alone(std::int64_t rows) {
  return {rows, 1};
}
constexpr Tile in_cluster(std::int64_t rows) {
  return {rows, 2};
}

TEST(TileChoice, HoldsAllRowsWhereThereIsMuchToDo) {
  for (const std::int64_t requests : {1, 16, 128})
    for (const std::int64_t rows : {1, 16, 17, 32, 33, 64, 128, 256}) {
      // The 2,048 blocks of one request are few enough for clusters with 17 … 32 rows.
      const bool halved = requests == 1 && rows > 16 && rows <= 32;
      EXPECT_EQ(choose_tile(question_of(requests, rows, 131072)),
                halved ? in_cluster(16) : tile_of_all(rows))
          << requests << " requests, " << rows << " rows";
    }
}

// Shapes at which each size was measured to be the fastest (docs/experiments/clusters.md).
TEST(TileChoice, IsSmallWhereThereIsLittleToDo) {
  EXPECT_EQ(choose_tile(question_of(1, 128, 1024)), alone(16));
  EXPECT_EQ(choose_tile(question_of(4, 128, 1024)), alone(16));
  EXPECT_EQ(choose_tile(question_of(1, 64, 8192)), alone(16));
  EXPECT_EQ(choose_tile(question_of(16, 32, 1024)), alone(16));
  EXPECT_EQ(choose_tile(question_of(1, 64, 16384)), alone(32));
  EXPECT_EQ(choose_tile(question_of(16, 64, 1024)), alone(32));
  EXPECT_EQ(choose_tile(question_of(32, 128, 256)), alone(32));
  EXPECT_EQ(choose_tile(question_of(1, 128, 8192)), in_cluster(64));
  EXPECT_EQ(choose_tile(question_of(1, 64, 65536)), alone(64));
  EXPECT_EQ(choose_tile(question_of(32, 128, 1024)), in_cluster(64));
}

// Measured in the same way, where workers have neither few blocks nor many.
TEST(TileChoice, IsHalfInPairsWhereMemoryIsTheBound) {
  EXPECT_EQ(choose_tile(question_of(1, 32, 65536)), in_cluster(16));
  EXPECT_EQ(choose_tile(question_of(16, 32, 4096)), in_cluster(16));
  EXPECT_EQ(choose_tile(question_of(16, 24, 4096)), in_cluster(16));
  EXPECT_EQ(choose_tile(question_of(64, 32, 2048)), in_cluster(16));
  EXPECT_EQ(choose_tile(question_of(16, 64, 4096)), in_cluster(32));
  EXPECT_EQ(choose_tile(question_of(64, 64, 1024)), in_cluster(32));
  EXPECT_EQ(choose_tile(question_of(1, 32, 16384)).cluster, 1);
  EXPECT_EQ(choose_tile(question_of(128, 32, 8192)), alone(32));
  EXPECT_EQ(choose_tile(question_of(8, 64, 4096)), alone(64));
  EXPECT_EQ(choose_tile(question_of(128, 64, 8192)), alone(64));
  EXPECT_EQ(choose_tile(question_of(16, 16, 4096)), alone(16));
}

TEST(TileChoice, HasNoSmallClustersWhereMultiprocessorsWouldBeTheBound) {
  for (const std::int64_t rows : {32, 64}) {
    TileQuestion question = question_of(16, rows, 4096);
    ASSERT_EQ(choose_tile(question).cluster, 2);
    question.memory_ps = h200_memory_ps;
    EXPECT_EQ(choose_tile(question), alone(rows));
    question.memory_ps = 0;
    EXPECT_EQ(choose_tile(question), alone(rows));
    question.memory_ps = h100_memory_ps;
    question.multiprocessors = 64;
    EXPECT_EQ(choose_tile(question), alone(rows));
  }
}

TEST(TileChoice, HasNoSmallClustersWhereEachWouldLoadAllKeys) {
  TileQuestion question = question_of(16, 32, 4096);
  question.clusters_load_once = false;
  EXPECT_EQ(choose_tile(question), alone(32));
  question.rows = 64;
  EXPECT_EQ(choose_tile(question), alone(64));
}

// Where tiles are smaller than they could be, a worker has at most one request.
TEST(TileChoice, IsNotSmallWhereThereAreManyRequests) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  for (int i = 0; i < 100000; ++i) {
    TileQuestion question =
        question_of(random.log_between(1, 300) - 1, random.log_between(1, 2000), 64);
    question.blocks = random.log_between(1, 2000);
    question.kv_heads = random.log_between(1, 8);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << question.requests << " requests, "
                                    << question.rows << " rows, " << question.blocks << " blocks");
    const Tile tile = choose_tile(question);
    ASSERT_LE(tile.rows, tile_of_all(question.rows).rows);
    if (tile == tile_of_all(question.rows))
      continue;
    if (tile.cluster == 2) {
      ASSERT_EQ(divide_up(question.rows, tile.rows), 2);
      continue;
    }
    ASSERT_LE(question.requests * divide_up(question.rows, tile.rows) * question.kv_heads,
              multiprocessors);
  }
}

// 128 requests of two query tokens with 128 heads.
constexpr ClusterOfFourQuestion two_tokens{.requests = 128,
                                           .blocks = 150,
                                           .tiles = 4,
                                           .kv_heads = 1,
                                           .workers = multiprocessors / 4,
                                           .whole_blocks = true,
                                           .batch_invariant = false};

TEST(TileChoice, IsInFoursWhereARequestHasFourTiles) {
  EXPECT_TRUE(is_better_in_clusters_of_four(two_tokens));
  for (const std::int64_t tiles : {1, 2, 3, 5, 6, 8}) {
    ClusterOfFourQuestion question = two_tokens;
    question.tiles = tiles;
    EXPECT_FALSE(is_better_in_clusters_of_four(question)) << tiles;
  }
}

TEST(TileChoice, IsNotInFoursWhereAnyOfWhatTheyNeedIsMissing) {
  ClusterOfFourQuestion of_two_heads = two_tokens;
  of_two_heads.kv_heads = 2;
  EXPECT_FALSE(is_better_in_clusters_of_four(of_two_heads));
  ClusterOfFourQuestion of_small_pages = two_tokens;
  of_small_pages.whole_blocks = false;
  EXPECT_FALSE(is_better_in_clusters_of_four(of_small_pages));
  ClusterOfFourQuestion invariant = two_tokens;
  invariant.batch_invariant = true;
  EXPECT_FALSE(is_better_in_clusters_of_four(invariant));
  ClusterOfFourQuestion of_short_ones = two_tokens;
  of_short_ones.blocks = 64;
  EXPECT_FALSE(is_better_in_clusters_of_four(of_short_ones));
  ClusterOfFourQuestion of_few = two_tokens;
  of_few.blocks = 400;
  of_few.requests = of_few.workers;
  EXPECT_FALSE(is_better_in_clusters_of_four(of_few));
  ++of_few.requests;
  EXPECT_TRUE(is_better_in_clusters_of_four(of_few));
}

// The choice depends neither on the number of other requests nor on their lengths.
TEST(TileChoice, DoesNotDependOnTheBatchInBatchInvariantMode) {
  for (const std::int64_t rows : {1, 16, 17, 32, 33, 64, 128})
    for (const std::int64_t requests : {1, 2, 128})
      for (const std::int64_t tokens : {64, 1024, 131072}) {
        TileQuestion question = question_of(requests, rows, tokens);
        question.batch_invariant = true;
        EXPECT_EQ(choose_tile(question), tile_of_all(rows))
            << rows << " rows, " << requests << " requests of " << tokens;
      }
}

}  // namespace

}  // namespace flashmla::schedule
