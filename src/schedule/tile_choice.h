// The choice of tiles and clusters for the Hopper kernels. A thread block computes a tile of 16, 32
// or 64 rows of a KV head. The tiles of a cluster load each block of keys once for all of them.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "schedule/integer_math.h"

namespace flashmla::schedule {

inline constexpr std::int64_t large_tile = 64;

struct Tile {
  std::int64_t rows;
  std::int64_t cluster;  // cluster size: tiles, each of one thread block; 1 or 2

  constexpr bool operator==(const Tile&) const = default;
};

// The cluster size for the large tiles of `rows` rows: 2 where their number is even.
constexpr std::int64_t cluster_of_large_tiles(std::int64_t rows) {
  return divide_up(rows, large_tile) % 2 == 0 ? 2 : 1;
}

// The time of a call with tiles of one size: start_ns + block_ns · (blocks of a worker). Measured
// hot on an H100, without what all sizes have in common (docs/experiments/clusters.md).
struct TileTime {
  std::int64_t rows;
  std::int64_t start_ns;  // loading queries, the end of a segment, code from a cold cache
  std::int64_t block_ns;
};

inline constexpr TileTime tile_16{16, 1400, 1200};
inline constexpr TileTime tile_32{32, 3600, 1400};
inline constexpr TileTime tile_64{large_tile, 6500, 1710};
inline constexpr TileTime cluster_of_64{large_tile, 4500, 1710};
inline constexpr std::int64_t combine_ns = 2000;

struct TileQuestion {
  std::int64_t requests;
  std::int64_t blocks;  // of a request that is as long as it may be, ≥ 1
  std::int64_t rows;    // of a KV head
  std::int64_t kv_heads;
  std::int64_t multiprocessors;
  std::int64_t memory_ps;  // picoseconds of device memory for a block, nominal; 0: not known
  bool batch_invariant;
  bool clusters_load_once;  // the boxes of a tensor map fit the pages, so that a cluster loads a
                            // block of keys once

  // The workers of a schedule. A worker has a thread block for each tile of a request. 0 where a
  // request has more tiles than there are multiprocessors.
  constexpr std::int64_t workers(const TileTime& tile) const {
    return multiprocessors / (divide_up(rows, tile.rows) * kv_heads);
  }

  // The time of a call in which each request is as long as it may be and has workers of its own.
  constexpr std::int64_t time_of(const TileTime& tile) const {
    const std::int64_t own = smaller(blocks, workers(tile) / requests);
    return tile.start_ns + divide_up(blocks, own) * tile.block_ns + (own > 1 ? combine_ns : 0);
  }
};

// The tile that takes half of 17 … 64 rows.
constexpr const TileTime& half_tile(std::int64_t rows) {
  return rows <= tile_32.rows ? tile_16 : tile_32;
}

// Whether a cluster of two tiles, each with half of the 17 … 64 rows, is better than one tile of
// all rows. Such a schedule has half as many workers and therefore half as many partial results,
// and each thread block writes half as much at the end of a segment. The cluster is better where
// device memory is the bound (it reaches nine tenths of its nominal rate) and where blocks of keys
// are few enough, since clusters read memory a little more slowly. From 33 rows on it also needs so
// many requests that a worker's share may end inside a request. The memory of an H200 is so fast
// that it is never the bound here.
constexpr bool is_better_in_small_clusters(const TileQuestion& question) {
  if (!question.clusters_load_once || question.rows <= tile_16.rows || question.rows > large_tile)
    return false;
  if (question.multiprocessors / 2 * question.memory_ps < 900 * half_tile(question.rows).block_ns)
    return false;  // the multiprocessors would be the bound
  const std::int64_t blocks = question.requests * question.blocks * question.kv_heads;
  if (question.rows <= tile_32.rows)
    return blocks >= 400 && blocks <= 2400;
  return blocks >= 800 && blocks <= 2000 && question.requests >= 16;
}

// A tile takes all rows of a KV head, up to 64. It takes fewer where each worker has few blocks:
// each of the smaller tiles reads all keys, but it begins and ends sooner, and more multiprocessors
// take part. Two such tiles may form a cluster. Batch-invariant mode has no smaller tiles, because
// their choice depends on the batch.
constexpr Tile choose_tile(const TileQuestion& question) {
  const TileTime& large = question.rows <= tile_16.rows                ? tile_16
                          : question.rows <= tile_32.rows              ? tile_32
                          : cluster_of_large_tiles(question.rows) == 2 ? cluster_of_64
                                                                       : tile_64;
  const Tile whole{large.rows, cluster_of_large_tiles(question.rows)};
  if (question.batch_invariant || question.requests == 0)
    return whole;
  if (is_better_in_small_clusters(question))
    return {half_tile(question.rows).rows, 2};
  if (question.workers(large) < question.requests)
    return whole;
  Tile best = whole;
  std::int64_t best_time = question.time_of(large);
  for (const TileTime& tile : {tile_32, tile_16}) {
    if (tile.rows >= large.rows || question.workers(tile) < question.requests)
      continue;
    const std::int64_t time = question.time_of(tile);
    if (time < best_time) {
      best_time = time;
      best = {tile.rows, 1};
    }
  }
  return best;
}

// The smallest number of blocks for each worker, if all requests were as long as they may be, from
// which clusters of four are better. Below it, the second launch that they need costs more than
// they gain. Fitted to eleven shapes on an H100 (docs/experiments/clusters.md).
inline constexpr std::int64_t min_blocks_in_clusters_of_four = 400;

struct ClusterOfFourQuestion {
  std::int64_t requests;
  std::int64_t blocks;  // of a request that is as long as it may be
  std::int64_t tiles;   // of 64 rows, of a KV head
  std::int64_t kv_heads;
  std::int64_t workers;  // of the schedule
  bool whole_blocks;     // the page size is a multiple of the block size
  bool batch_invariant;
};

// Whether four large tiles are better as one cluster of four, on those multiprocessors where such a
// cluster fits, than as two clusters of two that load the same keys (docs/experiments/clusters.md).
// The call must have a single KV head, so that a worker is one cluster. It must have more requests
// than workers: otherwise requests may have workers of their own, which get even parts of a request
// and so must be equally fast.
constexpr bool is_better_in_clusters_of_four(const ClusterOfFourQuestion& question) {
  return question.tiles == 4 && question.kv_heads == 1 && question.requests > question.workers &&
         question.requests * question.blocks >= question.workers * min_blocks_in_clusters_of_four &&
         question.whole_blocks && !question.batch_invariant;
}

}  // namespace flashmla::schedule
