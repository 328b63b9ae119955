// What a schedule costs, in nanoseconds. The one place for these constants; integers, so that g++
// and nvcc arrive at the same plan.
#pragma once

#include <cstdint>

#include "schedule/work_row.h"

namespace flashmla::schedule {

// A worker spends segment_ns on every segment (loading q, writing a result) and block_ns on every
// block. Combining a request that is cut into s segments takes split_ns · s more than combining
// none.
struct CostModel {
  std::int32_t block_ns;
  std::int32_t segment_ns;
  std::int32_t split_ns;

  // What split_kv's guarantee on the longest worker rests on: see split_cap().
  constexpr bool valid() const {
    return split_ns > 0 && block_ns >= 16 * split_ns && segment_ns >= block_ns / 8;
  }
};

// The first workers of a schedule may be faster than the others: each gets `fast` parts of the work
// where one of the others gets `slow`. Both are above 0, and 1 where no worker is fast.
struct WorkerSpeeds {
  std::int32_t fast_workers = 0;
  std::int32_t fast = 1;
  std::int32_t slow = 1;

  // Of all workers' shares together.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t parts(std::int32_t workers) const {
    return fast_workers * fast + (workers - fast_workers) * slow;
  }
};

// Hopper, four tiles of 64 rows: of one cluster, which loads its keys once, or of two
// clusters of two
// (docs/experiments/clusters.md).
inline constexpr std::int32_t speed_of_cluster_of_four = 10;
inline constexpr std::int32_t speed_of_cluster_of_two = 9;

// CPU backend, blocks of 64 tokens, one thread: fitted to `flashmla bench` on a processor with AVX2
// (docs/benchmarking.md); the proportions alone decide how work is divided. `rows` (heads × query
// tokens of one KV head) share a pass over the block.
constexpr CostModel cpu_cost_model(std::int64_t rows) {
  const auto tile = static_cast<std::int32_t>(rows < 64 ? rows : 64);
  const std::int32_t block = 7000 + 2800 * tile;
  return {.block_ns = block, .segment_ns = block / 8, .split_ns = block / 40};
}

// Hopper, blocks of 64 tokens, one thread block of an H200: from prototypes of its kernels; charges
// of tiles of 64 rows from the kernels themselves (docs/experiments/schedules.md). A worker
// computes all tiles of a request's `rows` at once, and all their rows are combined.
constexpr CostModel hopper_cost_model(std::int64_t rows, std::int64_t tile_rows) {
  CostModel cost{.block_ns = 1710, .segment_ns = rows <= 64 ? 5130 : 3420, .split_ns = 35};
  if (rows <= 64)
    cost.split_ns = rows <= 16 ? 8 : rows <= 32 ? 12 : 18;
  if (tile_rows <= 16)
    cost.block_ns = cost.segment_ns = 1370;
  else if (tile_rows <= 32)
    cost.block_ns = cost.segment_ns = 1730;
  return cost;
}

}  // namespace flashmla::schedule
