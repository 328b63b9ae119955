// How many query rows a thread block of a Hopper kernel takes: a tile of 16, 32 or 64 rows of a KV
// head, and whether tiles come in pairs that share their keys.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "schedule/integer_math.h"

namespace flashmla::schedule {

inline constexpr std::int64_t large_tile = 64;

struct Tile {
  std::int64_t rows;
  bool pair;

  constexpr bool operator==(const Tile&) const = default;
};

// An even number of large tiles is computed in pairs.
constexpr bool makes_pairs(std::int64_t rows) {
  return divide_up(rows, large_tile) % 2 == 0;
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
inline constexpr TileTime pair_of_64{large_tile, 4500, 1710};
inline constexpr std::int64_t combine_ns = 2000;

struct TileQuestion {
  std::int64_t requests;
  std::int64_t blocks;  // that a request has at most, ≥ 1
  std::int64_t rows;    // of a KV head
  std::int64_t kv_heads;
  std::int64_t multiprocessors;
  std::int64_t memory_ps;  // that device memory takes for a block, nominal; 0: not known
  bool batch_invariant;
  bool pairs_load_once;  // boxes of a tensor map fit the pages: a pair loads a block but once

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

// Whether two tiles of half the size, a pair, are better than one of all rows (17 … 64). A pair has
// half of the schedule's workers, so half of the partial results, and its blocks write half as much
// at a segment's end. It pays where device memory is the bound (it reaches nine tenths of its
// nominal rate), for few enough blocks: memory is read a little slower for pairs. And from 33 rows
// on, where a worker's share may end in the middle of a request. An H200's memory is too fast.
constexpr bool is_better_in_halves(const TileQuestion& question) {
  if (!question.pairs_load_once || question.rows <= tile_16.rows || question.rows > large_tile)
    return false;
  if (question.multiprocessors / 2 * question.memory_ps < 900 * half_of(question.rows).block_ns)
    return false;  // its multiprocessors would be the bound
  const std::int64_t blocks = question.requests * question.blocks * question.kv_heads;
  if (question.rows <= tile_32.rows)
    return blocks >= 400 && blocks <= 2400;
  return blocks >= 800 && blocks <= 2000 && question.requests >= 16;
}

// A tile has as many rows as a KV head has, up to 64. Fewer where there is little to do for each
// worker: every tile then reads all keys, but begins and ends sooner, and more of the GPU takes
// part; or in pairs.
//
// NOTE: not in batch-invariant mode, for this depends on the batch.
constexpr Tile choose_tile(const TileQuestion& question) {
  const TileTime& large = question.rows <= tile_16.rows   ? tile_16
                          : question.rows <= tile_32.rows ? tile_32
                          : makes_pairs(question.rows)    ? pair_of_64
                                                          : tile_64;
  const Tile whole{large.rows, makes_pairs(question.rows)};
  if (question.batch_invariant || question.requests == 0)
    return whole;
  if (is_better_in_halves(question))
    return {half_of(question.rows).rows, true};
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
      best = {tile.rows, false};
    }
  }
  return best;
}

// Blocks of keys for each worker, if all requests were the longest, from which on fours pay. Of two
// launches the second one begins later; fitted to eleven shapes on an H100, builds side by side
// (docs/experiments/clusters.md).
inline constexpr std::int64_t least_blocks_in_fours = 400;

struct FoursQuestion {
  std::int64_t requests;
  std::int64_t blocks;  // of the longest request
  std::int64_t tiles;   // large ones, of a KV head
  std::int64_t kv_heads;
  std::int64_t workers;  // of the schedule
  bool whole_blocks;     // a page holds no part of a block
  bool batch_invariant;
};

// Whether four large tiles are better as one cluster, wherever one fits on the GPU, than as two
// pairs that load the same keys (docs/experiments/clusters.md). Of a single KV head, so that a
// worker is one cluster; and where there are more requests than workers: fewer may have workers of
// their own, who get even parts of a request, for which all have to be alike.
constexpr bool is_better_in_fours(const FoursQuestion& question) {
  return question.tiles == 4 && question.kv_heads == 1 && question.requests > question.workers &&
         question.requests * question.blocks >= question.workers * least_blocks_in_fours &&
         question.whole_blocks && !question.batch_invariant;
}

}  // namespace flashmla::schedule
