#include "backends/cuda/dense_decode.h"

#include "backends/cuda/dense_maps.h"
#include "backends/cuda/fill_call.h"
#include "backends/cuda/launch_combine.h"
#include "backends/cuda/load_kernel.h"
#include "core/text.h"
#include "flashmla/kv_format.h"
#include "gpu/alignment.h"
#include "gpu/device_info.h"
#include "gpu/launch.h"
#include "sm90/kernels/plan/launch.h"

namespace flashmla::backends::cuda {

namespace {

namespace dense = sm90::dense_decode;
namespace combine = sm90::combine;
using sm90::ops::FastDivisor;

// One worker splits no request, so that batch-invariant mode needs no fixed pieces. The number of
// workers does not depend on the batch.
schedule::SplitParams split_params(const Problem& problem, const RowTiles& tiles) {
  return {.requests = static_cast<std::int32_t>(problem.batch),
          .workers = static_cast<std::int32_t>(tiles.workers),
          .block_tokens = dense::block_tokens,
          .cost = schedule::hopper_cost_model(tiles.rows, tiles.kernel.tile_rows),
          .batch_invariant = problem.batch_invariant && tiles.workers > 1,
          .speeds = tiles.speeds()};
}

void set_tensors(dense::Params& p, const Inputs& in) {
  p.q = static_cast<const std::uint16_t*>(in.q.data);
  p.q_strides = strides_of(in.q);
  p.q_aligned = gpu::rows_aligned(in.q);
  p.cache = static_cast<const std::uint16_t*>(in.kv_cache.data);
  p.cache_strides = strides_of(in.kv_cache);
  p.kv_aligned = gpu::rows_aligned(in.kv_cache);
  p.gathered = !boxes_fit(in.kv_cache);
  p.num_pages = static_cast<std::int32_t>(in.kv_cache.shape[0]);
  p.page_size = static_cast<std::int32_t>(in.kv_cache.shape[1]);
  p.by_page_size = FastDivisor::of(p.page_size);
  p.block_table = static_cast<const std::int32_t*>(in.block_table.data);
  p.table_stride = in.block_table.strides[0];
  p.table_width = static_cast<std::int32_t>(in.block_table.shape[1]);
  p.max_tokens = p.table_width * p.page_size;
}

// Whether the tokens of a page follow each other without gaps.
bool rows_are_contiguous(const TensorView& cache) {
  return cache.shape[2] == 1 && cache.strides[1] == cache.shape[3];
}

// Launches the kernel for the workers from p.first_worker on, and completes `p` for them.
void launch_workers(dense::Params& p, const dense::Kernel& kernel, const RowTiles& tiles,
                    std::int64_t workers, const Inputs& inputs, void* stream) {
  // The prefetch is faster where tensor cores are the bound and no other cluster loads the same
  // keys.
  p.prefetches_keys =
      kernel.cluster > 1 && tiles.total == kernel.cluster && rows_are_contiguous(inputs.kv_cache);
  const dense::Maps maps = dense_maps(inputs, kernel, p);
  gpu::launch(kernel.function,
              {static_cast<std::uint32_t>(tiles.blocks), kernel.threads, kernel.shared_bytes,
               static_cast<std::uint32_t>(kernel.cluster), static_cast<std::uint32_t>(workers)},
              stream, maps, p);
}

// The fast workers have clusters of four tiles. The others, with clusters of two, run at the same
// time.
void launch_attention(dense::Params& p, const RowTiles& tiles, const Inputs& inputs, void* stream) {
  if (tiles.fast_workers > 0)
    launch_workers(p, tiles.fast_kernel, tiles, tiles.fast_workers, inputs, stream);
  if (tiles.workers == tiles.fast_workers)
    return;
  p.first_worker = static_cast<std::int32_t>(tiles.fast_workers);
  p.beside = tiles.fast_workers > 0;
  launch_workers(p, tiles.kernel, tiles, tiles.workers - tiles.fast_workers, inputs, stream);
}

}  // namespace

DenseDecode::DenseDecode(const Problem& problem, const RowTiles& tiles,
                         std::int64_t multiprocessors)
    : Computation(problem, split_params(problem, tiles),
                  sm90::attend::partial_bytes_of(problem.query_type)),
      problem_(problem),
      tiles_(tiles),
      combine_(combine::kernel_of<sm90::attend::Output>(
          problem.query_type, params, problem.query_tokens * problem.query_heads, multiprocessors,
          tiles.kernel.fills_multiprocessor)) {}

std::string DenseDecode::kernel() const {
  std::string line = text(tiles_.kernel.name, ", tiles of ", tiles_.kernel.tile_rows,
                          " rows in clusters of ", tiles_.kernel.cluster);
  if (tiles_.fast_workers > 0)
    line += text(", clusters of ", tiles_.fast_kernel.cluster, " for ", tiles_.fast_workers,
                 " of the workers");
  return line;
}

void DenseDecode::prepare() const {
  const gpu::DeviceScope scope(problem_.device.index);
  load_kernel(tiles_.kernel);
  if (tiles_.fast_workers > 0)
    load_kernel(tiles_.fast_kernel);
  combine::load<sm90::attend::Output>(problem_.query_type, problem_.batch_invariant);
  sm90::plan::load();
}

void DenseDecode::run(const PlannedProblem& planned, const Inputs& inputs, const Outputs& outputs,
                      float softmax_scale, void* run_workspace, void* stream) const {
  if (problem_.batch == 0)
    return;
  const gpu::DeviceScope scope(problem_.device.index);
  dense::Params p{};
  p.schedule = schedule_of(planned);
  p.rows = rows_of(problem_);
  p.output = output_of(inputs, outputs, p.rows);
  p.partials = partials_of(run_workspace, partials);
  p.scores = scores_of(problem_, softmax_scale);
  set_tensors(p, inputs);
  p.tiles = static_cast<std::int32_t>(tiles_.tiles);
  p.by_tiles = FastDivisor::of(p.tiles);
  // Clusters that load the same keys share them in the L2 cache.
  p.key_policy = tiles_.total > tiles_.kernel.cluster ? sm90::ptx::L2Policy::evict_normal
                                                      : sm90::ptx::L2Policy::evict_first;
  p.q_box_rows = query_box_rows(inputs.q, tiles_);
  launch_attention(p, tiles_, inputs, stream);
  if (planned.may_split && partials.count > 0)
    launch_combine(combine_, combine_params(p), stream);
  if (p.max_tokens < p.schedule.planned_tokens)
    sm90::plan::launch_report_longer(p.schedule.lengths, p.schedule.requests, p.max_tokens,
                                     p.schedule.status, stream);
}

std::optional<std::string> refuses_dense_decode(const Problem& problem) {
  if (problem.ragged_queries)
    return "serves no ragged queries";
  if (problem.split_query)
    return "takes the query only as one tensor";
  if (problem.scaled_cache)
    return "serves no caches with a scale";
  if (dense::find_kernel(problem.kv_format, problem.qk_dim, {schedule::large_tile, 1}) == nullptr)
    return text("has no dense decoding kernel for ", name_of(problem.kv_format),
                " caches of d_qk = ", problem.qk_dim);
  constexpr std::int64_t max_rows = 1 << 30;
  if (problem.query_tokens > max_rows / problem.query_heads)
    return text("serves at most ", max_rows, " rows a request, not ", problem.query_tokens,
                " query tokens of ", problem.query_heads, " heads");
  return std::nullopt;
}

}  // namespace flashmla::backends::cuda
