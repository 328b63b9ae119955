#include "backends/cuda/row_tiles.h"

#include "schedule/split_kv.h"
#include "sm90/kernels/combine/launch.h"
#include "sm90/kernels/dense_decode/few_rows/launch.h"
#include "sm90/kernels/dense_decode/many_rows/launch.h"

namespace flashmla::backends::cuda {

namespace {

namespace dense = sm90::dense_decode;

// Tiles of few rows hold tokens as the rows of their products; from 33 rows on, rows are rows. An
// even number of tiles is computed in pairs that share their keys.
dense::Kernel choose_kernel(const Problem& problem, std::int64_t rows) {
  constexpr std::int64_t most_few_rows = 32;
  constexpr std::int64_t tile_rows = 64;
  if (rows <= most_few_rows)
    return dense::few_rows::kernel_of(problem.query_type, problem.qk_dim, rows);
  const bool pair = schedule::divide_up(rows, tile_rows) % 2 == 0;
  return dense::many_rows::kernel_of(problem.query_type, problem.qk_dim, pair);
}

}  // namespace

RowTiles::RowTiles(const Problem& problem, std::int64_t multiprocessors)
    : group(problem.query_heads / problem.kv_heads),
      rows(problem.query_tokens * group),
      kernel(choose_kernel(problem, rows)),
      tiles(schedule::divide_up(rows, kernel.tile_rows)),
      total(tiles * problem.kv_heads),
      workers(std::clamp<std::int64_t>(multiprocessors / total, 1, sm90::combine::worker_limit())),
      blocks(std::min(
          total, std::max<std::int64_t>(multiprocessors / kernel.cluster, 1) * kernel.cluster)) {}

}  // namespace flashmla::backends::cuda
