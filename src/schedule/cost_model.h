// What a schedule costs, in nanoseconds. All constants of the cost model stand here. They are
// integers, so that g++ and nvcc make the same plan.
#pragma once

#include <cstdint>

#include "schedule/work_row.h"

namespace flashmla::schedule {

struct CostModel {
  std::int32_t block_ns;    // of a worker, for each block
  std::int32_t segment_ns;  // of a worker, for each segment: it loads q and writes a result
  std::int32_t split_ns;    // of combining, for each segment of a request that is cut

  // The bound of split_kv on the longest worker needs these relations: see split_cap().
  constexpr bool valid() const {
    return split_ns > 0 && block_ns >= 16 * split_ns && segment_ns >= block_ns / 8;
  }
};

// The first `fast_workers` workers of a schedule may be faster than the others. A fast worker gets
// `fast` units of work where a slow one gets `slow`. Both numbers are above 0. Both are 1 where all
// workers are equally fast.
struct WorkerSpeeds {
  std::int32_t fast_workers = 0;
  std::int32_t fast = 1;
  std::int32_t slow = 1;

  // The sum of the speeds of all workers.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t total(std::int32_t workers) const {
    return fast_workers * fast + (workers - fast_workers) * slow;
  }
};

// Hopper, a worker of four tiles of 64 rows: the speed of one cluster of four, which loads its keys
// once, and of two clusters of two (docs/experiments/clusters.md).
inline constexpr std::int32_t speed_of_cluster_of_four = 10;
inline constexpr std::int32_t speed_of_cluster_of_two = 9;

// CPU backend, blocks of 64 tokens, one thread. The constants were fitted to `flashmla bench` on a
// processor with AVX2 (docs/benchmarking.md). Only their proportions decide how work is divided.
// `rows` are those of one KV head: heads × query tokens. Up to 64 of them share a pass over a
// block.
constexpr CostModel cpu_cost_model(std::int64_t rows) {
  const auto tile = static_cast<std::int32_t>(rows < 64 ? rows : 64);
  const std::int32_t block = 7000 + 2800 * tile;
  return {.block_ns = block, .segment_ns = block / 8, .split_ns = block / 40};
}

// Hopper, blocks of 64 tokens, one thread block of an H200. The times were measured with prototypes
// of the kernels, and segment_ns of tiles of 64 rows with the kernels themselves
// (docs/experiments/schedules.md). A worker computes all tiles of a request at the same time. All
// `rows` of the request are combined, so split_ns grows with them.
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

// The same for sparse decoding, whose rows are the heads of a query token. Gathering and
// dequantising take longer than the products (docs/experiments/sparse_decode.md).
constexpr CostModel hopper_sparse_cost_model(std::int64_t rows) {
  if (rows <= 16)
    return {.block_ns = 2700, .segment_ns = 1500, .split_ns = 8};
  if (rows <= 32)
    return {.block_ns = 2800, .segment_ns = 1900, .split_ns = 12};
  return {.block_ns = 2800, .segment_ns = 4000, .split_ns = rows <= 64 ? 18 : 35};
}

}  // namespace flashmla::schedule
