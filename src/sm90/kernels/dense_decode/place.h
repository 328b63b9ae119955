// The place of a CTA in a call, its worker and row tile, and the segments that it computes.
#pragma once

#include <cstdint>

#include "sm90/attend/tile_segment.h"
#include "sm90/kernels/dense_decode/params.h"
#include "sm90/ops/report_first.h"

namespace flashmla::sm90::dense_decode {

using attend::RowPlace;
using attend::TileSegment;

FLASHMLA_DEVICE std::int32_t divide_up(std::int32_t a, std::int32_t b) {
  return (a + b - 1) / b;
}

// Whether this launch runs beside the previous launch, which waits for the kernels in front of
// both. At its end this launch waits for the previous one, so that a kernel that waits for this
// launch waits for both. Only clusters of two tiles of 64 rows are launched in this way; other
// kernels need no check.
template <int TileRows, int ClusterSize>
FLASHMLA_DEVICE bool runs_beside(const Params& p) {
  return TileRows == 64 && ClusterSize == 2 && p.beside;
}

// One row tile.
struct TilePlace {
  std::int32_t kv_head;
  std::int32_t first_row;   // in the KV head
  std::int32_t last_token;  // query token of the last row of the cluster

  template <int TileRows, int ClusterSize>
  static FLASHMLA_DEVICE TilePlace of(const Params& p, std::int32_t index) {
    const std::int32_t kv_head = p.by_tiles.quotient(index);
    const std::int32_t tile = index - kv_head * p.tiles;
    const std::int32_t cluster_end = (tile / ClusterSize + 1) * ClusterSize * TileRows;
    return {kv_head, tile * TileRows, p.rows.by_group.quotient(min(cluster_end, p.rows.count) - 1)};
  }
};

// Reports a request with a page number outside the cache. The status word keeps the first one.
FLASHMLA_DEVICE void report_bad_page(const Params& p, std::int32_t request) {
  ops::report_first(p.schedule.status, request,
                    *static_cast<volatile std::int32_t*>(p.schedule.status));
}

// Calls body(TileSegment) for all work of the CTA. The grid is (tiles of all KV heads, workers from
// p.first_worker on), or as wide as the GPU where there are more tiles than multiprocessors. The
// tiles of a worker are neighbours in the grid, so that they share keys in the L2 cache.
template <int TileRows, int ClusterSize, class Body>
FLASHMLA_DEVICE void for_each_tile_segment(const Params& p, Body body) {
  const std::int32_t worker = p.first_worker + static_cast<std::int32_t>(blockIdx.y);
  const WorkRow work = p.schedule.work[worker];
  const schedule::Walk walk = p.schedule.walk();
  const std::int32_t all_tiles = p.tiles * p.rows.kv_heads;
  for (auto index = static_cast<std::int32_t>(blockIdx.x); index < all_tiles;
       index += static_cast<std::int32_t>(gridDim.x)) {
    const TilePlace place = TilePlace::of<TileRows, ClusterSize>(p, index);
    const auto of_tile = [&](const schedule::Segment& segment) {
      const std::int32_t length = min(segment.length, p.max_tokens);
      const std::int32_t seen = p.scores.visible_tokens(p.rows, length, place.last_token);
      const std::int32_t end = min(segment.end_block, divide_up(seen, block_tokens));
      body(TileSegment{segment.request, length, segment.first_block,
                       max(0, end - segment.first_block), segment.partial, place.kv_head,
                       place.first_row});
    };
    schedule::for_each_segment(walk, work, worker, of_tile);
  }
}

}  // namespace flashmla::sm90::dense_decode
