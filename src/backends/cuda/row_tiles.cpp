#include "backends/cuda/row_tiles.h"

#include <algorithm>

#include "schedule/tile_choice.h"
#include "sm90/kernels/combine/launch.h"

namespace flashmla::backends::cuda {

namespace {

namespace dense = sm90::dense_decode;
using schedule::divide_up;

constexpr schedule::Tile cluster_of_four{schedule::large_tile, 4};

// Blocks of a request that is as long as the plan allows.
std::int64_t blocks_of(const Problem& problem) {
  return divide_up(problem.max_pages * problem.page_size, dense::block_tokens);
}

dense::Kernel choose_kernel(const Problem& problem, std::int64_t rows, const TileDevice& device) {
  const double block_bytes = 2.0 * dense::block_tokens * static_cast<double>(problem.qk_dim);
  const schedule::Tile tile = schedule::choose_tile(
      {.requests = problem.batch,
       .blocks = std::max<std::int64_t>(1, blocks_of(problem)),
       .rows = rows,
       .kv_heads = problem.kv_heads,
       .multiprocessors = device.multiprocessors,
       .memory_ps = device.memory_rate > 0
                        ? static_cast<std::int64_t>(block_bytes / device.memory_rate * 1e12)
                        : 0,
       .batch_invariant = problem.batch_invariant,
       .clusters_load_once = dense::fits_boxes(problem.page_size)});
  return *dense::find_kernel(problem.kv_format, problem.qk_dim, tile);
}

// With a thread block on every multiprocessor the number of workers is the same with and without
// clusters of four: where no cluster of four fits, a worker has two clusters of two.
std::int64_t choose_fast_workers(const Problem& problem, const RowTiles& tiles,
                                 const TileDevice& device) {
  if (problem.max_workers > 0 || tiles.kernel.tile_rows != schedule::large_tile)
    return 0;
  const bool better = schedule::is_better_in_clusters_of_four(
      {.requests = problem.batch,
       .blocks = blocks_of(problem),
       .tiles = tiles.tiles,
       .kv_heads = problem.kv_heads,
       .workers = tiles.workers,
       .whole_blocks = problem.page_size % dense::block_tokens == 0,
       .batch_invariant = problem.batch_invariant});
  return better ? std::min(tiles.workers, device.max_clusters_of_four(device.index)) : 0;
}

}  // namespace

RowTiles::RowTiles(const Problem& problem, const TileDevice& device)
    : group(problem.query_heads / problem.kv_heads),
      rows(problem.query_tokens * group),
      kernel(choose_kernel(problem, rows, device)),
      tiles(divide_up(rows, kernel.tile_rows)),
      total(tiles * problem.kv_heads),
      workers(std::clamp<std::int64_t>(device.multiprocessors / total, 1,
                                       sm90::combine::worker_limit())),
      blocks(std::min(total, std::max<std::int64_t>(device.multiprocessors / kernel.cluster, 1) *
                                 kernel.cluster)),
      fast_workers(choose_fast_workers(problem, *this, device)) {
  if (fast_workers > 0)
    fast_kernel = *dense::find_kernel(problem.kv_format, problem.qk_dim, cluster_of_four);
}

schedule::WorkerSpeeds RowTiles::speeds() const {
  if (fast_workers == 0)
    return {};
  return {.fast_workers = static_cast<std::int32_t>(fast_workers),
          .fast = schedule::speed_of_cluster_of_four,
          .slow = schedule::speed_of_cluster_of_two};
}

}  // namespace flashmla::backends::cuda
