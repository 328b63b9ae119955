// How many query rows a thread block of a Hopper kernel takes: a tile of 16, 32 or 64 rows of a KV
// head, pairs of 64 sharing their keys.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "schedule/integer_math.h"

namespace flashmla::schedule {

inline constexpr std::int64_t large_tile = 64;

// An even number of large tiles is computed in pairs.
constexpr bool makes_pairs(std::int64_t rows) {
  return divide_up(rows, large_tile) % 2 == 0;
}

// What a call takes with tiles of one size, in nanoseconds: hot, on an H100, less what all sizes
// have in common (docs/performance-log.md).
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
  bool batch_invariant;

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

// Rows of a tile: as many as a KV head has, up to 64. Fewer where there is little to do for each
// worker: every tile reads all keys, but begins and ends sooner, and more of the GPU takes part.
//
// NOTE: not in batch-invariant mode, for this depends on the batch.
constexpr std::int64_t choose_tile(const TileQuestion& question) {
  const TileTime& large = question.rows <= tile_16.rows   ? tile_16
                          : question.rows <= tile_32.rows ? tile_32
                          : makes_pairs(question.rows)    ? pair_of_64
                                                          : tile_64;
  if (question.batch_invariant || question.requests == 0 ||
      question.workers(large) < question.requests)
    return large.rows;
  std::int64_t best = large.rows;
  std::int64_t least = question.time_of(large);
  for (const TileTime& tile : {tile_32, tile_16}) {
    if (tile.rows >= large.rows || question.workers(tile) < question.requests)
      continue;
    const std::int64_t time = question.time_of(tile);
    if (time < least) {
      least = time;
      best = tile.rows;
    }
  }
  return best;
}

}  // namespace flashmla::schedule
