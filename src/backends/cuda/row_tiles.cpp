#include "backends/cuda/row_tiles.h"

#include <algorithm>

#include "schedule/tile_choice.h"
#include "sm90/kernels/combine/launch.h"
#include "sm90/kernels/dense_decode/few_rows/launch.h"
#include "sm90/kernels/dense_decode/many_rows/launch.h"

namespace flashmla::backends::cuda {

namespace {

namespace dense = sm90::dense_decode;
using schedule::divide_up;

// Tiles of few rows hold tokens as the rows of their products; in large ones rows are rows.
dense::Kernel choose_kernel(const Problem& problem, std::int64_t rows, std::int64_t multiprocessors,
                            double memory_rate) {
  const std::int64_t tokens = problem.max_blocks * problem.page_size;
  const double block_bytes = 2.0 * dense::block_tokens * static_cast<double>(problem.qk_dim);
  const schedule::Tile tile = schedule::choose_tile(
      {.requests = problem.batch,
       .blocks = std::max<std::int64_t>(1, divide_up(tokens, dense::block_tokens)),
       .rows = rows,
       .kv_heads = problem.kv_heads,
       .multiprocessors = multiprocessors,
       .memory_ps =
           memory_rate > 0 ? static_cast<std::int64_t>(block_bytes / memory_rate * 1e12) : 0,
       .batch_invariant = problem.batch_invariant,
       .pairs_load_once = dense::fits_boxes(problem.page_size)});
  if (tile.rows < schedule::large_tile)
    return dense::few_rows::kernel_of(problem.query_type, problem.qk_dim, tile.rows, tile.pair);
  return dense::many_rows::kernel_of(problem.query_type, problem.qk_dim, tile.pair);
}

}  // namespace

RowTiles::RowTiles(const Problem& problem, std::int64_t multiprocessors, double memory_rate)
    : group(problem.query_heads / problem.kv_heads),
      rows(problem.query_tokens * group),
      kernel(choose_kernel(problem, rows, multiprocessors, memory_rate)),
      tiles(divide_up(rows, kernel.tile_rows)),
      total(tiles * problem.kv_heads),
      workers(std::clamp<std::int64_t>(multiprocessors / total, 1, sm90::combine::worker_limit())),
      blocks(std::min(
          total, std::max<std::int64_t>(multiprocessors / kernel.cluster, 1) * kernel.cluster)) {}

}  // namespace flashmla::backends::cuda
