#include "backends/cuda/sparse_decode.h"

#include <algorithm>

#include "backends/cuda/fill_call.h"
#include "backends/cuda/launch_combine.h"
#include "backends/cuda/load_kernel.h"
#include "core/check.h"
#include "core/text.h"
#include "gpu/alignment.h"
#include "gpu/device_info.h"
#include "gpu/launch.h"
#include "sm90/kernels/plan/launch.h"

namespace flashmla::backends::cuda {

namespace {

namespace combine = sm90::combine;
namespace sparse = sm90::sparse_decode;
using schedule::divide_up;
using sm90::ops::FastDivisor;

constexpr std::int64_t small_tile = 16;
constexpr std::int64_t middle_tile = 32;
constexpr std::int64_t large_tile = 64;

std::int64_t blocks_of(const Problem& problem) {
  const ScheduleShape shape(problem);
  return shape.requests * divide_up(shape.tokens, std::int64_t{sparse::block_tokens});
}

// A tile takes all heads, up to 64. It takes fewer where there are enough multiprocessors for every
// block of every such tile: each of the tiles gathers all rows, but it begins and ends sooner.
// Batch-invariant mode never does this, because the choice depends on the batch.
std::int64_t tile_rows_of(const Problem& problem, std::int64_t multiprocessors) {
  if (problem.query_heads <= small_tile)
    return small_tile;
  const bool few =
      blocks_of(problem) * divide_up(problem.query_heads, middle_tile) <= multiprocessors;
  return problem.query_heads <= middle_tile || (few && !problem.batch_invariant) ? middle_tile
                                                                                 : large_tile;
}

// Whether each multiprocessor has so many blocks that the kernel of few heads with the highest
// throughput is the fastest one. It begins and ends later than the other one. Batch-invariant mode
// always takes it, because the choice depends on the batch.
bool is_long(const Problem& problem, std::int64_t multiprocessors) {
  constexpr std::int64_t long_call_blocks = 8;
  return problem.batch_invariant || blocks_of(problem) >= long_call_blocks * multiprocessors;
}

// The workers of a schedule, at most `most`. All requests are equally long here. Where each of
// fewer workers can take the same number of whole requests, that may be sooner than cutting
// requests into equal shares: there is nothing to combine, and workers begin and end fewer
// segments.
std::int64_t workers_of(const Problem& problem, std::int64_t most) {
  const ScheduleShape shape(problem);
  const std::int64_t whole = divide_up(std::max<std::int64_t>(shape.requests, 1), most);
  if (problem.batch_invariant || shape.requests < most || shape.requests % whole != 0)
    return most;
  constexpr std::int64_t combine_ns = 5000;
  const schedule::CostModel cost = schedule::hopper_sparse_cost_model(problem.query_heads);
  const std::int64_t request_ns =
      cost.segment_ns + divide_up(shape.tokens, std::int64_t{sparse::block_tokens}) * cost.block_ns;
  const std::int64_t cut_ns =
      divide_up(shape.requests * request_ns, most) + cost.segment_ns + combine_ns;
  return whole * request_ns <= cut_ns ? shape.requests / whole : most;
}

schedule::SplitParams split_params(const Problem& problem, const HeadTiles& tiles) {
  return {.requests = static_cast<std::int32_t>(ScheduleShape(problem).requests),
          .workers = static_cast<std::int32_t>(tiles.workers),
          .block_tokens = sparse::block_tokens,
          .cost = schedule::hopper_sparse_cost_model(problem.query_heads),
          .batch_invariant = problem.batch_invariant && tiles.workers > 1};
}

// The stride of the first dimension in bytes. Where there is one page, the stride may be any
// number.
std::int64_t page_bytes_of(const TensorView& cache) {
  return cache.shape[0] > 1 ? cache.strides[0] * static_cast<std::int64_t>(size_of(cache.dtype))
                            : 0;
}

std::int64_t row_bytes_of(const TensorView& cache, KvFormat format) {
  switch (format) {
    case KvFormat::v32:
      return V32Layout::token_bytes;
    case KvFormat::v4:
      return V4Layout::row_bytes;
    default:
      return cache.shape[1] > 1 ? cache.strides[1] * static_cast<std::int64_t>(size_of(cache.dtype))
                                : 0;
  }
}

sparse::IndexLists lists_of(const TensorView& cache, KvFormat format, const TensorView& indices,
                            const TensorView& lengths) {
  if (!indices.given() || indices.shape[2] == 0) {
    sparse::IndexLists none{};
    none.by_page_size = FastDivisor::of(1);
    return none;
  }
  constexpr std::int64_t max_capacity = std::int64_t{1} << 31;  // slots are int32
  return {.slots = static_cast<const std::int32_t*>(indices.data),
          .request_stride = indices.strides[0],
          .token_stride = indices.strides[1],
          .entries = static_cast<std::int32_t>(indices.shape[2]),
          .lengths = static_cast<const std::int32_t*>(lengths.data),
          .cache = static_cast<const std::uint8_t*>(cache.data),
          .page_bytes = page_bytes_of(cache),
          .row_bytes = row_bytes_of(cache, format),
          .page_size = static_cast<std::int32_t>(cache.shape[1]),
          .capacity =
              static_cast<std::uint32_t>(std::min(cache.shape[0] * cache.shape[1], max_capacity)),
          .by_page_size = FastDivisor::of(static_cast<std::int32_t>(cache.shape[1]))};
}

// The kernels load FP8 rows in units of 16 bytes.
void check_alignment(const char* argument, const TensorView& cache) {
  if (!cache.given())
    return;
  if (reinterpret_cast<std::uintptr_t>(cache.data) % gpu::wide_bytes != 0)
    throw Error(ErrorCode::unsupported, argument, "an address that is no multiple of 16",
                "an FP8 cache on a GPU that begins at a multiple of 16 bytes");
  if (page_bytes_of(cache) % gpu::wide_bytes == 0)
    return;
  throw Error(ErrorCode::unsupported, argument, text("pages ", cache.strides[0], " bytes apart"),
              "pages of an FP8 cache on a GPU that are a multiple of 16 bytes apart");
}

}  // namespace

HeadTiles::HeadTiles(const Problem& problem, std::int64_t multiprocessors)
    : kernel(*sparse::find_kernel(problem.kv_format, problem.qk_dim,
                                  tile_rows_of(problem, multiprocessors),
                                  is_long(problem, multiprocessors))),
      tiles(divide_up(problem.query_heads, std::int64_t{kernel.tile_rows})),
      workers(workers_of(
          problem, std::clamp<std::int64_t>(multiprocessors / tiles, 1, combine::worker_limit()))),
      blocks(std::min(tiles, multiprocessors)) {}

SparseDecode::SparseDecode(const Problem& problem, const HeadTiles& tiles,
                           std::int64_t multiprocessors)
    : Computation(problem, split_params(problem, tiles),
                  sm90::attend::partial_bytes_of(problem.query_type)),
      problem_(problem),
      tiles_(tiles),
      combine_(combine::kernel_of<sm90::attend::TokenOutput>(
          problem.query_type, params, problem.query_heads, multiprocessors, true)) {}

std::string SparseDecode::kernel() const {
  return text("sparse ", tiles_.kernel.name, ", tiles of ", tiles_.kernel.tile_rows, " heads");
}

void SparseDecode::prepare() const {
  const gpu::DeviceScope scope(problem_.device.index);
  load_kernel(reinterpret_cast<const void*>(tiles_.kernel.function), tiles_.kernel.shared_bytes);
  combine::load<sm90::attend::TokenOutput>(problem_.query_type, problem_.batch_invariant);
  sm90::plan::load();
}

void SparseDecode::run(const PlannedProblem& planned, const Inputs& inputs, const Outputs& outputs,
                       float softmax_scale, void* run_workspace, void* stream) const {
  if (!is_plain(problem_.kv_format)) {
    check_alignment("kv_cache", inputs.kv_cache);
    check_alignment("extra_kv_cache", inputs.extra_kv_cache);
  }
  if (problem_.batch == 0)
    return;
  const gpu::DeviceScope scope(problem_.device.index);
  sparse::Params p{};
  p.schedule = schedule_of(planned);
  p.q = static_cast<const std::uint16_t*>(inputs.q.data);
  p.q_strides = strides_of(inputs.q);
  p.q_aligned = gpu::rows_aligned(inputs.q);
  p.lists[0] = lists_of(inputs.kv_cache, problem_.kv_format, inputs.indices, inputs.topk_length);
  p.lists[1] = lists_of(inputs.extra_kv_cache, problem_.kv_format, inputs.extra_indices,
                        inputs.extra_topk_length);
  p.kv_aligned = gpu::rows_aligned(inputs.kv_cache) &&
                 (!inputs.extra_kv_cache.given() || gpu::rows_aligned(inputs.extra_kv_cache));
  p.rows = rows_of(problem_);
  p.output = token_output_of(problem_, inputs, outputs, p.rows);
  p.partials = partials_of(run_workspace, partials);
  p.tiles = static_cast<std::int32_t>(tiles_.tiles);
  p.scores = scores_of(problem_, softmax_scale);
  gpu::launch(tiles_.kernel.function,
              {.blocks = static_cast<std::uint32_t>(tiles_.blocks),
               .threads = tiles_.kernel.threads,
               .shared_bytes = tiles_.kernel.shared_bytes,
               .blocks_y = static_cast<std::uint32_t>(tiles_.workers)},
              stream, p);
  if (planned.may_split && partials.count > 0)
    launch_combine(combine_, combine_params(p), stream);
}

std::optional<std::string> refuses_sparse_decode(const Problem& problem) {
  if (problem.ragged_queries)
    return "serves no ragged queries";
  if (problem.split_query)
    return "takes the query only as one tensor";
  if (problem.scaled_cache)
    return "serves no caches with a scale";
  if (sparse::find_kernel(problem.kv_format, problem.qk_dim, large_tile, true) == nullptr)
    return text("has no sparse decoding kernel for ", name_of(problem.kv_format),
                " caches of d_qk = ", problem.qk_dim);
  constexpr std::int64_t max_tokens = 1 << 30;
  if (ScheduleShape(problem).requests > max_tokens)
    return text("serves at most ", max_tokens, " query tokens, not ",
                ScheduleShape(problem).requests);
  return std::nullopt;
}

}  // namespace flashmla::backends::cuda
