#include "backends/cpu/dense_decode.h"

#include <algorithm>
#include <atomic>
#include <numbers>
#include <utility>

#include "backends/cpu/isa.h"
#include "backends/cpu/paged_rows.h"
#include "backends/cpu/results.h"
#include "backends/cpu/row_tiles.h"
#include "backends/cpu/thread_pool.h"

namespace flashmla::backends::cpu {

namespace {

// The data that all work units of a call share.
struct DenseCall {
  const KernelTable& kernels;
  const HalfCodec& codec;
  const PlannedProblem& planned;
  const schedule::PlanMemory memory;
  const Inputs& inputs;
  const float query_factor;  // softmax_scale · log2 e, so that weights are 2^score
  const RowTiles tiles;
  const Partials partials;
  const OutputRows outputs;
  const SegmentResults results{kernels, partials, outputs};

  const Problem& problem() const { return planned.problem; }

  // The status word holds 1 + the smallest bad request, or 0. Several runs may share it.
  void report_bad_page(std::int32_t request) const {
    std::atomic_ref<std::int32_t> status(*memory.status);
    std::int32_t seen = status.load();
    while ((seen == 0 || request + 1 < seen) && !status.compare_exchange_weak(seen, request + 1)) {
    }
  }
};

// Computes one row tile of one segment.
class TileSegment {
 public:
  TileSegment(const DenseCall& call, const RowTile& tile, const schedule::Segment& segment)
      : call_(call),
        tile_(tile),
        segment_(segment),
        rows_of_cache_(call.inputs, segment.request, tile.kv_head, segment.length),
        scratch_(call.tiles.tile_rows, call.problem()) {}

  void run() {
    const std::int64_t block_tokens = call_.planned.params.block_tokens;
    const std::int64_t begin = segment_.first_block * block_tokens;
    const std::int64_t end = std::min(segment_.end_block * block_tokens, limit(tile_.rows - 1));
    load_queries(begin < end ? tile_.rows : 0);
    const void* rows[2][max_tile_tokens];
    bool complete = begin < end && gather(begin, end, rows[0]);
    for (std::int64_t first = begin; first < end; first += max_tile_tokens) {
      const std::int64_t next = first + max_tile_tokens;
      const bool next_complete = next < end && gather(next, end, rows[1]);
      load_block(rows[0], block_count(first, end));
      attend(first, end, complete, rows[1], next_complete ? block_count(next, end) : 0);
      std::swap(rows[0], rows[1]);
      complete = next_complete;
    }
    write_results();
  }

 private:
  static std::int32_t block_count(std::int64_t first, std::int64_t end) {
    return static_cast<std::int32_t>(std::min<std::int64_t>(max_tile_tokens, end - first));
  }

  std::int64_t token_of(std::int32_t row) const {
    return (tile_.first_row + row) / call_.tiles.group;
  }
  std::int64_t head_of(std::int32_t row) const {
    return tile_.kv_head * call_.tiles.group + (tile_.first_row + row) % call_.tiles.group;
  }

  // The row sees tokens 0 … limit − 1. With a causal mask the last query token sees all of them.
  std::int64_t limit(std::int32_t row) const {
    const std::int64_t length = rows_of_cache_.length();
    if (!call_.problem().causal)
      return length;
    return std::max<std::int64_t>(0, length - call_.problem().query_tokens + token_of(row) + 1);
  }

  void load_queries(std::int32_t rows) {
    load_queries(call_.inputs.q, rows, 0);
    if (call_.problem().split_query)
      load_queries(call_.inputs.q_rotary, rows, call_.inputs.q.shape[3]);
    scratch_.clear(tile_.rows);
  }

  // All columns of `q` go to the columns of the scratch rows from `first_column` on.
  void load_queries(const TensorView& q, std::int32_t rows, std::int64_t first_column) {
    for (std::int32_t row = 0; row < rows; ++row)
      call_.codec.load(static_cast<const std::uint16_t*>(q.data) + segment_.request * q.strides[0] +
                           token_of(row) * q.strides[1] + head_of(row) * q.strides[2],
                       scratch_.query + row * call_.problem().qk_dim + first_column,
                       static_cast<std::int32_t>(q.shape[3]), call_.query_factor);
  }

  bool gather(std::int64_t first, std::int64_t end, const void** rows) const {
    const bool complete = rows_of_cache_.gather(first, block_count(first, end), rows);
    if (!complete)
      call_.report_bad_page(segment_.request);
    return complete;
  }

  // Converts the rows of a block to fp32 scratch memory. A token whose page lies outside the cache
  // becomes zeros, since its weight of 0 times anything else might be NaN.
  void load_block(const void* const* rows, std::int32_t count) {
    const auto qk_dim = static_cast<std::int32_t>(call_.problem().qk_dim);
    for (std::int32_t i = 0; i < count; ++i) {
      float* target = scratch_.cache + i * qk_dim;
      if (rows[i] != nullptr)
        call_.codec.load(rows[i], target, qk_dim, 1.0f);
      else
        std::fill_n(target, qk_dim, 0.0f);
      missing_[i] = rows[i] == nullptr;
    }
  }

  void attend(std::int64_t first, std::int64_t end, bool complete, const void* const* upcoming,
              std::int32_t upcoming_rows) {
    const std::int32_t count = block_count(first, end);
    std::int32_t visible[max_tile_rows];
    for (std::int32_t row = 0; row < tile_.rows; ++row)
      visible[row] =
          static_cast<std::int32_t>(std::clamp<std::int64_t>(limit(row) - first, 0, count));
    call_.kernels.attend_block({.query = scratch_.query,
                                .cache = scratch_.cache,
                                .visible = visible,
                                .missing = complete ? nullptr : missing_,
                                .upcoming = upcoming,
                                .scores = scratch_.scores,
                                .out = scratch_.out,
                                .maximum = scratch_.maximum,
                                .sum = scratch_.sum,
                                .rescale = scratch_.rescale,
                                .upcoming_rows = upcoming_rows,
                                .upcoming_bytes = 2 * scratch_.qk_dim,
                                .rows = tile_.rows,
                                .tokens = count,
                                .qk_dim = scratch_.qk_dim,
                                .v_dim = scratch_.v_dim});
  }

  void write_results() const {
    for (std::int32_t row = 0; row < tile_.rows; ++row)
      call_.results.write(segment_, token_of(row) * call_.problem().query_heads + head_of(row),
                          scratch_, row);
  }

  const DenseCall& call_;
  const RowTile tile_;
  const schedule::Segment segment_;
  const PagedRows rows_of_cache_;
  const TileMemory scratch_;
  std::uint8_t missing_[max_tile_tokens];
};

}  // namespace

void run_dense_decode(const KernelTable& kernels, const PlannedProblem& planned,
                      const Inputs& inputs, const Outputs& outputs, float softmax_scale,
                      void* run_workspace) {
  const Problem& problem = planned.problem;
  const DenseCall call{.kernels = kernels,
                       .codec = codec_of(kernels, problem.query_type),
                       .planned = planned,
                       .memory = planned.memory(),
                       .inputs = inputs,
                       .query_factor = softmax_scale * std::numbers::log2e_v<float>,
                       .tiles = RowTiles(problem),
                       .partials = Partials(problem, planned.params, run_workspace),
                       .outputs = OutputRows(kernels, problem, inputs, outputs)};
  std::atomic_ref<std::int32_t>(*call.memory.status).store(0);

  const schedule::Walk walk = planned.walk();
  // The last tiles come first, because they take longest under a causal mask.
  parallel_for(planned.params.workers * call.tiles.total, problem.max_workers,
               [&](std::int64_t unit) {
                 const auto worker = static_cast<std::int32_t>(unit / call.tiles.total);
                 const std::int64_t tile = call.tiles.total - 1 - unit % call.tiles.total;
                 schedule::for_each_segment(
                     walk, call.memory.work[worker], worker, [&](const schedule::Segment& segment) {
                       TileSegment(call, RowTile(call.tiles, tile), segment).run();
                     });
               });
  combine_partials(kernels, planned, call.partials, call.outputs);
}

}  // namespace flashmla::backends::cpu
