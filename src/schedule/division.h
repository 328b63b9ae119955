// How the cached tokens of a batch are divided: the arithmetic of split_kv, whose comment says what
// it is about.
#pragma once

#include <cstdint>

#include "schedule/cost_model.h"
#include "schedule/integer_math.h"
#include "schedule/work_tile.h"

namespace flashmla::schedule {

struct SplitParams {
  std::int32_t requests;      // b
  std::int32_t workers;       // ≥ 1
  std::int32_t block_tokens;  // ≥ 1
  CostModel cost;             // valid()
  bool batch_invariant;
  WorkerSpeeds speeds = {};  // all alike in batch-invariant mode
};

// In batch-invariant mode a request is cut into pieces that depend on its own length alone: at most
// max_pieces, and none under min_piece_blocks.
inline constexpr std::int64_t max_pieces = 32;
inline constexpr std::int64_t min_piece_blocks = 8;

// Blocks of a request; a request without tokens still takes one, in which its result is written.
FLASHMLA_HOST_DEVICE constexpr std::int32_t blocks_of(std::int32_t tokens,
                                                      std::int32_t block_tokens) {
  // Not by divide(): a kernel knows block_tokens, and shifts.
  const auto size = static_cast<std::uint32_t>(block_tokens);
  return larger(1,
                static_cast<std::int32_t>((static_cast<std::uint32_t>(tokens) + size - 1) / size));
}

// Most segments that a request of `blocks` may be cut into. With s segments its time is about
// blocks · block_ns / s + s · split_ns, least at s = sqrt(blocks · block_ns / split_ns).
//
// valid() makes that at least 4 · sqrt(blocks), so that cap and cap − 1 segments differ by less
// than a tenth of a block: least_stride() can round to the latter.
FLASHMLA_HOST_DEVICE constexpr std::int64_t split_cap(std::int64_t blocks, const CostModel& cost) {
  return smaller(blocks, sqrt_of_quotient(blocks * cost.block_ns, cost.split_ns));
}

// Batch-invariant mode: blocks in each piece of a request, the last one may be shorter.
FLASHMLA_HOST_DEVICE constexpr std::int64_t piece_blocks(std::int64_t blocks,
                                                         const CostModel& cost) {
  const std::int64_t pieces =
      smaller(smaller(max_pieces, split_cap(blocks, cost)), divide_up(blocks, min_piece_blocks));
  return divide_up(blocks, pieces);
}

FLASHMLA_HOST_DEVICE constexpr std::int64_t piece_count(std::int64_t blocks,
                                                        const CostModel& cost) {
  return divide_up(blocks, piece_blocks(blocks, cost));
}

// Length of a request on the line, in nanoseconds; in batch-invariant mode each piece has its
// charge.
FLASHMLA_HOST_DEVICE constexpr std::int64_t request_cost(std::int64_t blocks,
                                                         const SplitParams& params) {
  const std::int64_t charges =
      params.batch_invariant ? piece_count(blocks, params.cost) : std::int64_t{1};
  return blocks * params.cost.block_ns + charges * params.cost.segment_ns;
}

// The shortest stride that respects a request's split cap: a request that is c strides long meets
// at most c + 1 of them. Segments of a single block need no care, cuts being at least a block
// apart.
FLASHMLA_HOST_DEVICE constexpr std::int64_t least_stride(std::int64_t blocks,
                                                         const SplitParams& params) {
  const std::int64_t one_block = params.cost.block_ns;
  const std::int64_t cap = split_cap(blocks, params.cost);
  if (params.batch_invariant || cap == blocks)
    return one_block;
  return larger(one_block, Divisor(cap - 1).quotient_up(blocks * params.cost.block_ns));
}

// What the requests of a batch reach at most.
struct Largest {
  std::int64_t least_stride;
  std::int32_t blocks;

  FLASHMLA_HOST_DEVICE static constexpr Largest of(const Largest& a, const Largest& b) {
    return {larger(a.least_stride, b.least_stride), larger(a.blocks, b.blocks)};
  }
};

// Segments of a request that has `own` workers to itself.
FLASHMLA_HOST_DEVICE constexpr std::int32_t own_segments(std::int32_t blocks, std::int32_t own,
                                                         const CostModel& cost) {
  return static_cast<std::int32_t>(smaller<std::int64_t>(own, split_cap(blocks, cost)));
}

// How many workers each request gets for itself; 0 where cuts on the line are better. A request of
// most blocks, cut evenly, must not take longer than a worker's share of the line, of which half a
// block is lost to cuts that move; where there is one request, nothing is. Workers of two speeds
// would not be done with even pieces at the same time.
FLASHMLA_HOST_DEVICE constexpr std::int32_t own_workers(const SplitParams& params,
                                                        std::int64_t stride, std::int32_t blocks) {
  if (params.batch_invariant || params.requests > params.workers || params.requests == 0 ||
      params.speeds.fast_workers > 0)
    return 0;
  const std::int32_t own = params.workers / params.requests;
  const Divisor segments(own_segments(blocks, own, params.cost));
  const std::int64_t time = segments.quotient_up(blocks) * params.cost.block_ns;
  const std::int64_t lost = params.requests > 1 ? params.cost.block_ns : 0;
  return 2 * time <= 2 * stride + lost ? own : 0;
}

// A place on the line where one worker's share ends and the next one's begins.
struct alignas(16) Cut {
  std::int32_t request;
  std::int32_t block;
  std::int32_t split;     // which of the request's segments begins here
  std::int32_t partials;  // Σ partial results of the requests that are first cut before
};

// What a cut adds where it is the first inside its request. Nothing in batch-invariant mode, where
// cuts do not follow the workers.
struct SplitCounts {
  std::int32_t partials;
  std::int32_t steps;  // combine_steps()

  FLASHMLA_HOST_DEVICE constexpr SplitCounts operator+(const SplitCounts& other) const {
    return {partials + other.partials, steps + other.steps};
  }
};

// Where a worker begins.
struct Begin {
  Cut cut;
  SplitCounts counts;
};

// What split_kv fills, and its scratch.
struct SplitMemory {
  std::int64_t* start;         // [b + 1], scratch
  Cut* cuts;                   // [workers + 1], scratch
  WorkTile* work;              // [workers]
  std::int32_t* split_offset;  // [b + 1]
  SplitRequest* split_list;    // [workers + 1]; names no request in batch-invariant mode
};

// The division of one batch: the line with everything that is needed to find a cut on it.
struct Division {
  SplitParams params;
  const std::int32_t* lengths;  // [b], tokens
  const std::int64_t* start;    // [b + 1], where each request begins on the line, ns
  Divisor stride;               // ns between the cuts of fast workers, which come first
  Divisor slow_stride;          // the same of the others
  std::int32_t own;             // own_workers()

  FLASHMLA_HOST_DEVICE constexpr std::int32_t blocks(std::int32_t request) const {
    return blocks_of(lengths[request], params.block_tokens);
  }

  // The last request that begins at or before `position`. In four parts at once: every step of the
  // search waits for memory.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t request_at(std::int64_t position) const {
    std::int32_t low = 0;
    std::int32_t high = params.requests;
    while (high - low > 1) {
      const std::int32_t quarter = (high - low + 3) / 4;
      const auto begins_before = [&](std::int32_t part) {
        return start[smaller(high, low + part * quarter)] <= position ? 1 : 0;
      };
      low += (begins_before(1) + begins_before(2) + begins_before(3)) * quarter;
      high = smaller(high, low + quarter);
    }
    return low;
  }

  // Where the first of the other workers begins.
  FLASHMLA_HOST_DEVICE constexpr std::int64_t slow_start() const {
    return params.speeds.fast_workers * stride.value();
  }

  FLASHMLA_HOST_DEVICE constexpr std::int64_t position_of(std::int32_t worker) const {
    const std::int32_t fast = smaller(worker, params.speeds.fast_workers);
    return fast * stride.value() + (worker - fast) * slow_stride.value();
  }

  // The first worker that begins at or after `position`; the number of workers where none does. One
  // quotient, whichever the stride is.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t worker_from(std::int64_t position) const {
    const bool fast = position < slow_start();
    const Divisor by = fast ? stride : slow_stride;
    const std::int64_t from = fast ? 0 : slow_start();
    const std::int64_t before = fast ? 0 : params.speeds.fast_workers;
    return static_cast<std::int32_t>(
        smaller<std::int64_t>(params.workers, before + by.quotient_up(position - from)));
  }

  // The first worker that begins inside of a request, behind its first block, if one does.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t first_inside(std::int32_t request) const {
    return worker_from(start[request] + params.cost.segment_ns + params.cost.block_ns);
  }

  // The first worker that begins at or after the request's start.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t first_worker(std::int32_t request) const {
    return own > 0 ? request * own : worker_from(start[request]);
  }

  // Where worker `index` begins, and what that adds. Straight on, without branches: a GPU then has
  // the quotients in hand at once.
  FLASHMLA_HOST_DEVICE constexpr Begin begin(std::int32_t index) const {
    if (own > 0)
      return begin_of_own(index);
    const std::int64_t position = position_of(index);
    if (position >= start[params.requests])
      return {{params.requests, 0, 0, 0}, {0, 0}};
    const std::int32_t request = request_at(position);
    const std::int64_t offset = position - start[request];
    if (params.batch_invariant)
      return {cut_between_pieces(request, offset), {0, 0}};
    const std::int64_t inside = larger<std::int64_t>(0, offset - params.cost.segment_ns);
    const std::int64_t block = Divisor(params.cost.block_ns).quotient(inside);
    const std::int32_t split = index - first_inside(request) + 1;
    const std::int32_t segments = worker_from(start[request + 1]) - index + 1;
    return {{request, static_cast<std::int32_t>(block), larger(0, split), 0},
            split == 1 ? counts_of(segments) : SplitCounts{0, 0}};
  }

  // The share of worker `index`, between two cuts.
  FLASHMLA_HOST_DEVICE constexpr WorkTile tile(const SplitMemory& memory,
                                               std::int32_t index) const {
    const Cut begin = memory.cuts[index];
    const Cut end = memory.cuts[index + 1];
    WorkTile tile{};
    tile.flags = params.batch_invariant ? fixed_pieces : 0;
    tile.first_request = begin.request;
    tile.first_block = begin.block;
    tile.first_split = begin.split;
    tile.first_partial = -1;
    tile.last_request = end.block == 0 ? end.request - 1 : end.request;
    if (begin.request == end.request && begin.block == end.block) {
      tile.last_request = begin.request - 1;  // no block between the two cuts
      return tile;
    }
    tile.end_block =
        end.block == 0 ? static_cast<std::int32_t>(blocks(tile.last_request)) : end.block;
    tile.first_length = lengths[begin.request];
    // A request that was cut before was first cut where its second segment begins.
    if (params.batch_invariant) {
      const std::int32_t* offset = memory.split_offset + begin.request;
      tile.first_partial = offset[1] == offset[0] ? -1 : offset[0];
    } else if (begin.split > 0 || (end.request == begin.request && end.block > 0)) {
      tile.first_partial = memory.cuts[index + 1 - begin.split].partials;
    }
    return tile;
  }

 private:
  static FLASHMLA_HOST_DEVICE constexpr SplitCounts counts_of(std::int32_t segments) {
    return {segments, combine_steps(segments)};
  }

  // The same where each request has workers of its own. Those that its cap leaves over are idle.
  FLASHMLA_HOST_DEVICE constexpr Begin begin_of_own(std::int32_t index) const {
    const std::int32_t request = index / own;
    if (request >= params.requests)
      return {{params.requests, 0, 0, 0}, {0, 0}};
    const std::int32_t all = blocks(request);
    const std::int32_t parts = own_segments(all, own, params.cost);
    const std::int32_t split = index - request * own;
    if (split >= parts)
      return {{request + 1, 0, 0, 0}, {0, 0}};
    const auto block = Divisor(parts).quotient(static_cast<std::int64_t>(split) * all);
    return {{request, static_cast<std::int32_t>(block), split, 0},
            split == 1 ? counts_of(parts) : SplitCounts{0, 0}};
  }

  // The first piece that begins `offset` or more behind the request's start, or the next request.
  FLASHMLA_HOST_DEVICE constexpr Cut cut_between_pieces(std::int32_t request,
                                                        std::int64_t offset) const {
    const CostModel& cost = params.cost;
    const std::int64_t all = blocks(request);
    const std::int64_t piece = piece_blocks(all, cost);
    const std::int64_t index = divide_up(offset, piece * cost.block_ns + cost.segment_ns);
    if (index * piece >= all)
      return {request + 1, 0, 0, 0};
    return {request, static_cast<std::int32_t>(index * piece), static_cast<std::int32_t>(index), 0};
  }
};

}  // namespace flashmla::schedule
