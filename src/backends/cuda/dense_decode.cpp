#include "backends/cuda/dense_decode.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numbers>

#include "backends/cuda/load_kernel.h"
#include "cuda/alignment.h"
#include "cuda/device_info.h"
#include "cuda/launch.h"
#include "cuda/tensor_map.h"
#include "sm90/kernels/combine/launch.h"
#include "sm90/kernels/dense_decode/seesaw/launch.h"
#include "sm90/kernels/plan/launch.h"

namespace flashmla::backends::cuda {

namespace {

namespace dense = sm90::dense_decode;
using dense::block_tokens;
using sm90::ops::FastDivisor;

// Partial results in the run workspace: all out, then what is beside the rows.
struct PartialLayout {
  std::int64_t rows;
  std::size_t out_bytes;
  std::size_t beside_bytes;

  PartialLayout(const Problem& problem, const schedule::SplitParams& params)
      : rows(schedule::max_partials(params, problem.max_pages * problem.page_size) *
             problem.query_tokens * problem.query_heads) {
    const dense::PartialBytes bytes = dense::PartialBytes::of(problem.query_type);
    out_bytes = static_cast<std::size_t>(rows * problem.v_dim) * bytes.number;
    beside_bytes = static_cast<std::size_t>(rows) * bytes.beside;
  }

  std::size_t bytes() const { return out_bytes + beside_bytes; }
};

bool boxes_fit(const TensorView& cache) {
  return dense::fits_boxes(cache.shape[1]) && ::flashmla::cuda::rows_aligned(cache) &&
         cache.shape[0] > 0;
}

// Whether the tokens of a page follow each other without gaps.
bool rows_are_contiguous(const TensorView& cache) {
  return cache.shape[2] == 1 && cache.strides[1] == cache.shape[3];
}

constexpr std::uint32_t chunk_columns = 64;
constexpr std::uint64_t chunk_bytes = chunk_columns * sizeof(std::uint16_t);

std::uint64_t size_of(const TensorView& tensor, int d) {
  return static_cast<std::uint64_t>(tensor.shape[d]);
}

// NOTE: the stride of a dimension of size 1 may be anything, but not in a tensor map.
std::uint64_t stride_bytes(const TensorView& tensor, int d) {
  return tensor.shape[d] > 1 ? static_cast<std::uint64_t>(tensor.strides[d]) * sizeof(std::uint16_t)
                             : chunk_bytes;
}

// (column in chunk, token in page, chunk, KV head, page). Boxes have `rows` rows and `chunks`
// chunks where a page holds whole blocks, otherwise one chunk of a page.
CUtensorMap key_map(const TensorView& cache, std::int32_t rows, std::int32_t chunks) {
  const bool whole_blocks = cache.shape[1] >= block_tokens;
  return ::flashmla::cuda::make_tensor_map(
      {.data = cache.data,
       .type = cache.dtype,
       .size = {chunk_columns, size_of(cache, 1), size_of(cache, 3) / chunk_columns,
                size_of(cache, 2), size_of(cache, 0)},
       .stride_bytes = {stride_bytes(cache, 1), chunk_bytes, stride_bytes(cache, 2),
                        stride_bytes(cache, 0)},
       .box = {chunk_columns, static_cast<std::uint32_t>(whole_blocks ? rows : cache.shape[1]),
               static_cast<std::uint32_t>(whole_blocks ? chunks : 1), 1, 1}});
}

// Rows of a box of queries: the whole tile where its rows are heads of one query token, or the
// heads of a query token where a tile is made of several; 0 where neither fits.
std::int32_t query_box_rows(const TensorView& q, const RowTiles& tiles) {
  constexpr std::int64_t min_rows = 8;  // the unit of the swizzle
  if (!::flashmla::cuda::rows_aligned(q))
    return 0;
  const std::int32_t tile_rows = tiles.kernel.tile_rows;
  if (q.shape[1] == 1 || tiles.group % tile_rows == 0)
    return tile_rows;
  if (tiles.group % min_rows == 0 && tile_rows % tiles.group == 0)
    return static_cast<std::int32_t>(tiles.group);
  return 0;
}

// (column in chunk, head, chunk, query token, request)
CUtensorMap query_map(const TensorView& q, const dense::Kernel& kernel, std::int32_t box_rows) {
  const bool whole_tile = box_rows == kernel.tile_rows;
  return ::flashmla::cuda::make_tensor_map(
      {.data = q.data,
       .type = q.dtype,
       .size = {chunk_columns, size_of(q, 2), size_of(q, 3) / chunk_columns, size_of(q, 1),
                size_of(q, 0)},
       .stride_bytes = {stride_bytes(q, 2), chunk_bytes, stride_bytes(q, 1), stride_bytes(q, 0)},
       .box = {chunk_columns, static_cast<std::uint32_t>(box_rows),
               whole_tile ? static_cast<std::uint32_t>(kernel.qk_chunks) : 1, 1, 1}});
}

dense::Maps maps_of(const Inputs& in, const dense::Kernel& kernel, const dense::Params& p) {
  dense::Maps maps{};
  if (!p.gathered) {
    maps.keys = key_map(in.kv_cache, kernel.box_rows, kernel.box_chunks);
    if (kernel.boxes_rope)
      maps.rope_keys = key_map(in.kv_cache, kernel.box_rows, 1);
  }
  if (p.q_box_rows > 0)
    maps.queries = query_map(in.q, kernel, p.q_box_rows);
  return maps;
}

dense::Strides strides_of(const TensorView& tensor) {
  return {tensor.strides[0], tensor.strides[1], tensor.strides[2]};
}

void set_schedule(dense::Params& p, const PlannedProblem& planned) {
  const schedule::PlanMemory memory = planned.memory();
  p.split = planned.params;
  p.work = memory.work;
  p.split_offset = memory.split_offset;
  p.split_list = memory.split_list;
  p.lengths = memory.lengths;
  const schedule::Walk walk = planned.walk();
  p.planned_tokens = walk.max_tokens;
  p.partials = walk.partials;
  p.status = memory.status;
}

void set_tensors(dense::Params& p, const Inputs& in, const Outputs& outputs) {
  p.q = static_cast<const std::uint16_t*>(in.q.data);
  p.q_strides = strides_of(in.q);
  p.q_aligned = ::flashmla::cuda::rows_aligned(in.q);
  p.cache = static_cast<const std::uint16_t*>(in.kv_cache.data);
  p.cache_strides = strides_of(in.kv_cache);
  p.kv_aligned = ::flashmla::cuda::rows_aligned(in.kv_cache);
  p.gathered = !boxes_fit(in.kv_cache);
  p.num_pages = static_cast<std::int32_t>(in.kv_cache.shape[0]);
  p.page_size = static_cast<std::int32_t>(in.kv_cache.shape[1]);
  p.block_table = static_cast<const std::int32_t*>(in.block_table.data);
  p.table_stride = in.block_table.strides[0];
  p.table_width = static_cast<std::int32_t>(in.block_table.shape[1]);
  p.max_tokens = p.table_width * p.page_size;
  p.out = static_cast<std::uint16_t*>(outputs.out.data);
  p.out_strides = strides_of(outputs.out);
  p.out_aligned = ::flashmla::cuda::rows_aligned(outputs.out);
  p.lse = static_cast<float*>(outputs.lse.data);
  p.lse_scale = static_cast<float>(std::numbers::ln2 * scale_of(outputs.lse_base));
  p.empty_lse = value_of(outputs.empty_lse);
  p.sink = static_cast<const float*>(in.attn_sink.data);
}

void set_rows(dense::Params& p, const Problem& problem, const RowTiles& tiles) {
  p.query_tokens = static_cast<std::int32_t>(problem.query_tokens);
  p.query_heads = static_cast<std::int32_t>(problem.query_heads);
  p.kv_heads = static_cast<std::int32_t>(problem.kv_heads);
  p.group = static_cast<std::int32_t>(tiles.group);
  p.rows = static_cast<std::int32_t>(tiles.rows);
  p.tiles = static_cast<std::int32_t>(tiles.tiles);
  p.by_rows = FastDivisor::of(p.rows);
  p.by_group = FastDivisor::of(p.group);
  p.by_tiles = FastDivisor::of(p.tiles);
  p.by_page_size = FastDivisor::of(p.page_size);
  p.combine_groups =
      static_cast<std::int32_t>(schedule::divide_up(p.kv_heads * p.rows, schedule::combine_rows));
  p.by_combine_groups = FastDivisor::of(p.combine_groups);
  p.causal = problem.causal;
}

// Elements between the rows of a KV head in the output: heads of a query token, then the next
// token.
std::int64_t row_distance(const dense::Params& p) {
  const dense::Strides& strides = p.out_strides;
  const bool even = p.query_tokens == 1 || strides.middle == p.group * strides.head;
  return even && p.out_aligned ? strides.head : 0;
}

// `p` is completed for the workers from p.first_worker on.
void launch_workers(dense::Params& p, const dense::Kernel& kernel, const RowTiles& tiles,
                    std::int64_t workers, const Inputs& inputs, void* stream) {
  // Worth it where tensor cores are the bound, and no other cluster asks for the same keys.
  p.prefetches_keys =
      kernel.cluster > 1 && tiles.total == kernel.cluster && rows_are_contiguous(inputs.kv_cache);
  const dense::Maps maps = maps_of(inputs, kernel, p);
  ::flashmla::cuda::launch(
      kernel.function,
      {static_cast<std::uint32_t>(tiles.blocks), kernel.threads, kernel.shared_bytes,
       static_cast<std::uint32_t>(kernel.cluster), static_cast<std::uint32_t>(workers)},
      stream, maps, p);
}

// The fast workers, clusters of four tiles, and then the others at the same time.
void launch_clusters_of_four_and_two(dense::Params& p, const Problem& problem,
                                     const RowTiles& tiles, const Inputs& inputs, void* stream) {
  launch_workers(p, dense::seesaw::kernel_of(problem.query_type, problem.qk_dim, 4), tiles,
                 tiles.fast_workers, inputs, stream);
  if (tiles.workers == tiles.fast_workers)
    return;
  p.first_worker = static_cast<std::int32_t>(tiles.fast_workers);
  p.beside = true;
  launch_workers(p, tiles.kernel, tiles, tiles.workers - tiles.fast_workers, inputs, stream);
}

void launch_combine(const dense::Params& p, const PlannedProblem& planned, const RowTiles& tiles,
                    void* stream) {
  const Problem& problem = planned.problem;
  const auto device = static_cast<std::size_t>(problem.device.index);
  const sm90::combine::Kernel kernel = sm90::combine::kernel_of(
      problem.query_type, planned.params, problem.query_tokens * problem.query_heads,
      ::flashmla::cuda::devices().list[device].multiprocessors, tiles.kernel.fills_multiprocessor);
  ::flashmla::cuda::launch(kernel.function, {kernel.blocks, kernel.threads, kernel.shared_bytes},
                           stream, p);
}

}  // namespace

void load_dense_decode(const RowTiles& tiles, const Problem& problem) {
  load_kernel(tiles.kernel);
  if (tiles.fast_workers > 0)
    load_kernel(dense::seesaw::kernel_of(problem.query_type, problem.qk_dim, 4));
  sm90::combine::load(problem.query_type, problem.batch_invariant);
}

std::size_t dense_workspace_bytes(const Problem& problem, const schedule::SplitParams& params) {
  return PartialLayout(problem, params).bytes();
}

void run_dense_decode(const PlannedProblem& planned, const RowTiles& tiles, const Inputs& inputs,
                      const Outputs& outputs, float softmax_scale, void* run_workspace,
                      void* stream) {
  if (planned.problem.batch == 0)
    return;
  dense::Params p{};
  set_schedule(p, planned);
  set_tensors(p, inputs, outputs);
  set_rows(p, planned.problem, tiles);
  p.out_row_distance = row_distance(p);
  const PartialLayout partials(planned.problem, planned.params);
  p.partial_out = run_workspace;
  p.partial_rows = reinterpret_cast<dense::PartialRow*>(static_cast<std::byte*>(run_workspace) +
                                                        partials.out_bytes);
  // NOTE: not 0, for a masked score of −inf times 0 is NaN.
  p.scale = std::max(std::abs(softmax_scale) * std::numbers::log2e_v<float>, FLT_MIN);
  p.negated = softmax_scale < 0;
  // Clusters that share a request's keys meet in the L2 cache.
  p.key_policy = tiles.total > tiles.kernel.cluster ? dense::L2Policy::evict_normal
                                                    : dense::L2Policy::evict_first;
  p.q_box_rows = query_box_rows(inputs.q, tiles);
  if (tiles.fast_workers > 0)
    launch_clusters_of_four_and_two(p, planned.problem, tiles, inputs, stream);
  else
    launch_workers(p, tiles.kernel, tiles, tiles.workers, inputs, stream);
  if (planned.may_split && partials.rows > 0)
    launch_combine(p, planned, tiles, stream);
  if (p.max_tokens < p.planned_tokens)
    sm90::plan::launch_report_longer(p.lengths, p.split.requests, p.max_tokens, p.status, stream);
}

}  // namespace flashmla::backends::cuda
