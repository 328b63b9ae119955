// Tiles of query rows. The rows of one KV head are query tokens (in sparse attention one) × the
// query heads that use the KV head: row = token · group + head in group. A tile is up to
// max_tile_rows of these rows, which share one pass over the cache.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cpu/kernel/table.h"
#include "backends/schedule_shape.h"
#include "flashmla/problem.h"

namespace flashmla::backends::cpu {

struct RowTiles {
  std::int64_t group;      // query heads of one KV head
  std::int64_t rows;       // of one KV head
  std::int64_t per_head;   // tiles of one KV head, of nearly equal size
  std::int64_t tile_rows;  // rows of a tile; the last one may have fewer
  std::int64_t total;      // tiles of all KV heads

  explicit constexpr RowTiles(const Problem& problem)
      : group(problem.query_heads / problem.kv_heads),
        rows(ScheduleShape(problem).rows / problem.kv_heads),
        per_head((rows + max_tile_rows - 1) / max_tile_rows),
        tile_rows((rows + per_head - 1) / per_head),
        total(per_head * problem.kv_heads) {}
};

// One tile: rows first_row … first_row + rows − 1 of a KV head.
struct RowTile {
  std::int64_t kv_head;
  std::int64_t first_row;
  std::int32_t rows;

  // `index` is 0 … total − 1.
  constexpr RowTile(const RowTiles& tiles, std::int64_t index)
      : kv_head(index / tiles.per_head),
        first_row(index % tiles.per_head * tiles.tile_rows),
        rows(static_cast<std::int32_t>(
            std::max<std::int64_t>(0, std::min(tiles.tile_rows, tiles.rows - first_row)))) {}
};

}  // namespace flashmla::backends::cpu
