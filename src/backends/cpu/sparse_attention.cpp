#include "backends/cpu/sparse_attention.h"

#include <algorithm>
#include <cstring>
#include <numbers>
#include <utility>

#include "backends/cpu/index_lists.h"
#include "backends/cpu/isa.h"
#include "backends/cpu/results.h"
#include "backends/cpu/row_tiles.h"
#include "backends/cpu/thread_pool.h"
#include "core/numeric.h"

namespace flashmla::backends::cpu {

namespace {

// The data that all work units of a call share.
struct SparseCall {
  const KernelTable& kernels;
  const PlannedProblem& planned;
  const schedule::PlanMemory memory;
  const Inputs& inputs;
  const float query_factor;  // softmax_scale · log2 e, so that weights are 2^score
  const RowTiles tiles;
  const Partials partials;
  const OutputRows outputs;
  const SegmentResults results{kernels, partials, outputs};

  const Problem& problem() const { return planned.problem; }
};

// load_v32() and load_v4() dequantise a token to fp32 scratch memory, in pair-split order.
void load_v32(const KernelTable& kernels, const CachedToken& token, float* target) {
  float scales[V32Layout::tiles];
  std::memcpy(scales, token.scales, sizeof scales);
  for (std::int64_t tile = 0; tile < V32Layout::tiles; ++tile)
    kernels.load_e4m3(token.row + tile * V32Layout::tile_elements,
                      target + tile * V32Layout::tile_elements, V32Layout::tile_elements,
                      scales[tile]);
  kernels.bf16.load(token.row + V32Layout::rotary_offset, target + V32Layout::latent_elements,
                    rotary_elements, 1.0f);
}

void load_v4(const KernelTable& kernels, const CachedToken& token, float* target) {
  for (std::int64_t tile = 0; tile < V4Layout::tiles; ++tile)
    kernels.load_e4m3(token.row + tile * V4Layout::tile_elements,
                      target + tile * V4Layout::tile_elements, V4Layout::tile_elements,
                      e8m0_to_float(static_cast<std::uint8_t>(token.scales[tile])));
  kernels.bf16.load(token.row + V4Layout::rotary_offset, target + V4Layout::latent_elements,
                    rotary_elements, 1.0f);
}

// The tokens of one block of list entries.
struct TokenBlock {
  CachedToken tokens[max_tile_tokens];
  std::int32_t count = 0;
};

// Computes one tile of query heads of one segment of a query token's lists.
class TileSegment {
 public:
  TileSegment(const SparseCall& call, const RowTile& tile, const schedule::Segment& segment)
      : call_(call),
        tile_(tile),
        segment_(segment),
        request_(segment.request / call.problem().query_tokens),
        token_(segment.request % call.problem().query_tokens),
        lists_(call.problem(), call.inputs, request_, token_),
        scratch_(call.tiles.tile_rows, call.problem()) {}

  void run() {
    const std::int64_t block_tokens = call_.planned.params.block_tokens;
    const std::int64_t begin = segment_.first_block * block_tokens;
    const std::int64_t end = std::min(segment_.end_block * block_tokens, lists_.entries());
    scratch_.clear(tile_.rows);
    if (begin < end)
      load_queries();
    TokenBlock block;
    TokenBlock upcoming;
    gather(begin, end, block);
    for (std::int64_t first = begin; first < end; first += max_tile_tokens) {
      gather(first + max_tile_tokens, end, upcoming);
      if (block.count > 0) {
        load(block);
        attend(block.count, upcoming);
      }
      std::swap(block, upcoming);
    }
    for (std::int32_t row = 0; row < tile_.rows; ++row)
      call_.results.write(segment_, tile_.first_row + row, scratch_, row);
  }

 private:
  void load_queries() const {
    const TensorView& q = call_.inputs.q;
    for (std::int32_t row = 0; row < tile_.rows; ++row)
      call_.kernels.bf16.load(static_cast<const std::uint16_t*>(q.data) + request_ * q.strides[0] +
                                  token_ * q.strides[1] + (tile_.first_row + row) * q.strides[2],
                              scratch_.query + row * scratch_.qk_dim, scratch_.qk_dim,
                              call_.query_factor);
  }

  void gather(std::int64_t first, std::int64_t end, TokenBlock& block) const {
    block.count = lists_.gather(first, std::min(first + max_tile_tokens, end), block.tokens);
  }

  void load(const TokenBlock& block) const {
    const KvFormat format = call_.problem().kv_format;
    for (std::int32_t i = 0; i < block.count; ++i) {
      const CachedToken& token = block.tokens[i];
      float* target = scratch_.cache + i * scratch_.qk_dim;
      if (format == KvFormat::v32)
        load_v32(call_.kernels, token, target);
      else if (format == KvFormat::v4)
        load_v4(call_.kernels, token, target);
      else
        call_.kernels.bf16.load(token.row, target, scratch_.qk_dim, 1.0f);
    }
  }

  void attend(std::int32_t count, const TokenBlock& upcoming) const {
    std::int32_t visible[max_tile_rows];
    std::fill_n(visible, tile_.rows, count);
    const void* rows[max_tile_tokens];
    for (std::int32_t i = 0; i < upcoming.count; ++i)
      rows[i] = upcoming.tokens[i].row;
    call_.kernels.attend_block({.query = scratch_.query,
                                .cache = scratch_.cache,
                                .visible = visible,
                                .missing = nullptr,
                                .upcoming = rows,
                                .scores = scratch_.scores,
                                .out = scratch_.out,
                                .maximum = scratch_.maximum,
                                .sum = scratch_.sum,
                                .rescale = scratch_.rescale,
                                .upcoming_rows = upcoming.count,
                                .upcoming_bytes = static_cast<std::int32_t>(
                                    token_bytes(call_.problem().kv_format, call_.problem().qk_dim)),
                                .rows = tile_.rows,
                                .tokens = count,
                                .qk_dim = scratch_.qk_dim,
                                .v_dim = scratch_.v_dim});
  }

  const SparseCall& call_;
  const RowTile tile_;
  const schedule::Segment segment_;
  const std::int64_t request_;
  const std::int64_t token_;
  const IndexLists lists_;
  const TileMemory scratch_;
};

}  // namespace

void run_sparse_attention(const KernelTable& kernels, const PlannedProblem& planned,
                          const Inputs& given_inputs, const Outputs& given_outputs,
                          float softmax_scale, void* run_workspace) {
  const Problem& problem = planned.problem;
  const Inputs inputs = as_decoding(problem, given_inputs);
  const Outputs outputs = as_decoding(problem, given_outputs);
  const SparseCall call{.kernels = kernels,
                        .planned = planned,
                        .memory = planned.memory(),
                        .inputs = inputs,
                        .query_factor = softmax_scale * std::numbers::log2e_v<float>,
                        .tiles = RowTiles(problem),
                        .partials = Partials(problem, planned.params, run_workspace),
                        .outputs = OutputRows(kernels, problem, inputs, outputs)};
  const schedule::Walk walk = planned.walk();
  parallel_for(
      planned.params.workers * call.tiles.total, problem.max_workers, [&](std::int64_t unit) {
        const auto worker = static_cast<std::int32_t>(unit / call.tiles.total);
        const RowTile tile(call.tiles, unit % call.tiles.total);
        schedule::for_each_segment(
            walk, call.memory.work[worker], worker,
            [&](const schedule::Segment& segment) { TileSegment(call, tile, segment).run(); });
      });
  combine_partials(kernels, planned, call.partials, call.outputs);
}

}  // namespace flashmla::backends::cpu
