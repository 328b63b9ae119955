// How many query rows a thread block of a Hopper kernel takes: a tile of 16, 32 or 64 rows of a KV
// head, and how many tiles make a cluster, which loads each block of keys once.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "schedule/integer_math.h"

namespace flashmla::schedule {

inline constexpr std::int64_t large_tile = 64;

struct Tile {
  std::int64_t rows;
  std::int64_t cluster;  // tiles, one a thread block: 1 or 2

  constexpr bool operator==(const Tile&) const = default;
};

// An even number of large tiles is computed in clusters of two.
constexpr std::int64_t cluster_of_large_tiles(std::int64_t rows) {
  return divide_up(rows, large_tile) % 2 == 0 ? 2 : 1;
}

// What a call takes with tiles of one size, in nanoseconds: hot, on an H100, less what all sizes
// have in common (docs/experiments/clusters.md).
struct TileTime {
  std::int64_t rows;
  std::int64_t start_ns;  // queries, the end of a segment, code from a cold cache
  std::int64_t block_ns;
};

inline constexpr TileTime tile_16{16, 1400, 1200};
inline constexpr TileTime tile_32{32, 3600, 1400};
inline constexpr TileTime tile_64{large_tile, 6500, 1710};
inline constexpr TileTime cluster_of_64{large_tile, 4500, 1710};
inline constexpr std::int64_t combine_ns = 2000;

struct TileQuestion {
  std::int64_t requests;
  std::int64_t blocks;  // that a request has at most, ≥ 1
  std::int64_t rows;    // of a KV head
  std::int64_t kv_heads;
  std::int64_t multiprocessors;
  std::int64_t memory_ps;  // that device memory takes for a block, nominal; 0: not known
  bool batch_invariant;
  bool clusters_load_once;  // boxes of a tensor map fit the pages: a cluster loads a block once

  // Of a schedule: each has a thread block for every tile. 0 where there are more tiles than
  // multiprocessors.
  constexpr std::int64_t workers(const TileTime& tile) const {
    return multiprocessors / (divide_up(rows, tile.rows) * kv_heads);
  }

  // Where every request is as long as it may be, and has a worker of its own or several.
  constexpr std::int64_t time_of(const TileTime& tile) const {
    const std::int64_t own = smaller(blocks, workers(tile) / requests);
    return tile.start_ns + divide_up(blocks, own) * tile.block_ns + (own > 1 ? combine_ns : 0);
  }
};

// Of half of a KV head's rows, which are 17 … 64.
constexpr const TileTime& half_of(std::int64_t rows) {
  return rows <= tile_32.rows ? tile_16 : tile_32;
}

// Whether a cluster of two tiles of half the size is better than one tile of all rows (17 … 64).
// Such a schedule has half as many workers, so half of the partial results, and each thread block
// writes half as much at a segment's end. The cluster pays where device memory is the bound (it
// reaches nine tenths of its nominal rate) and blocks of keys are few enough, since clusters read
// memory a little slower. From 33 rows on it also needs enough requests that a worker's share may
// end in the middle of one. An H200's memory is too fast for any of this.
constexpr bool is_better_in_halves(const TileQuestion& question) {
  if (!question.clusters_load_once || question.rows <= tile_16.rows || question.rows > large_tile)
    return false;
  if (question.multiprocessors / 2 * question.memory_ps < 900 * half_of(question.rows).block_ns)
    return false;  // its multiprocessors would be the bound
  const std::int64_t blocks = question.requests * question.blocks * question.kv_heads;
  if (question.rows <= tile_32.rows)
    return blocks >= 400 && blocks <= 2400;
  return blocks >= 800 && blocks <= 2000 && question.requests >= 16;
}

// A tile has as many rows as a KV head has, up to 64. It has fewer where there is little to do for
// each worker: every tile then reads all keys, but begins and ends sooner, and more of the GPU
// takes part. Two such tiles may make a cluster.
//
// NOTE: not in batch-invariant mode, for this depends on the batch.
constexpr Tile choose_tile(const TileQuestion& question) {
  const TileTime& large = question.rows <= tile_16.rows                ? tile_16
                          : question.rows <= tile_32.rows              ? tile_32
                          : cluster_of_large_tiles(question.rows) == 2 ? cluster_of_64
                                                                       : tile_64;
  const Tile whole{large.rows, cluster_of_large_tiles(question.rows)};
  if (question.batch_invariant || question.requests == 0)
    return whole;
  if (is_better_in_halves(question))
    return {half_of(question.rows).rows, 2};
  if (question.workers(large) < question.requests)
    return whole;
  Tile best = whole;
  std::int64_t least = question.time_of(large);
  for (const TileTime& tile : {tile_32, tile_16}) {
    if (tile.rows >= large.rows || question.workers(tile) < question.requests)
      continue;
    const std::int64_t time = question.time_of(tile);
    if (time < least) {
      least = time;
      best = {tile.rows, 1};
    }
  }
  return best;
}

// Clusters of four pay from this number of blocks of keys for each worker on, if all requests were
// the longest. They need a second launch, which begins later; fitted to eleven shapes on an H100,
// builds side by side (docs/experiments/clusters.md).
inline constexpr std::int64_t min_blocks_in_clusters_of_four = 400;

struct ClusterOfFourQuestion {
  std::int64_t requests;
  std::int64_t blocks;  // of the longest request
  std::int64_t tiles;   // large ones, of a KV head
  std::int64_t kv_heads;
  std::int64_t workers;  // of the schedule
  bool whole_blocks;     // a page holds no part of a block
  bool batch_invariant;
};

// Whether four large tiles are better as one cluster, wherever one fits on the GPU, than as two
// clusters of two that load the same keys (docs/experiments/clusters.md). The call must have a
// single KV head, so that a worker is one cluster, and more requests than workers: fewer requests
// may have workers of their own, which get even parts of a request and so have to be alike.
constexpr bool is_better_in_clusters_of_four(const ClusterOfFourQuestion& question) {
  return question.tiles == 4 && question.kv_heads == 1 && question.requests > question.workers &&
         question.requests * question.blocks >= question.workers * min_blocks_in_clusters_of_four &&
         question.whole_blocks && !question.batch_invariant;
}

}  // namespace flashmla::schedule
