// How the cached tokens of a batch are divided: the arithmetic of split_kv, whose comment says what
// it is about.
#pragma once

#include <cstdint>
#include <limits>

#include "schedule/cost_model.h"
#include "schedule/integer_math.h"
#include "schedule/work_row.h"

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
inline constexpr std::int32_t max_pieces = 32;
inline constexpr std::int32_t min_piece_blocks = 8;

// Blocks of a request; none of one without tokens.
FLASHMLA_HOST_DEVICE constexpr std::int32_t blocks_of(std::int32_t tokens,
                                                      std::int32_t block_tokens) {
  // Not by divide(): a kernel knows block_tokens, and shifts.
  const auto size = static_cast<std::uint32_t>(block_tokens);
  return static_cast<std::int32_t>((static_cast<std::uint32_t>(tokens) + size - 1) / size);
}

// Most segments that a request of `blocks` may be cut into. With s segments its time is about
// blocks · block_ns / s + s · split_ns, least at s = sqrt(blocks · block_ns / split_ns).
//
// valid() makes that at least 4 · sqrt(blocks), so that cap and cap − 1 segments differ by less
// than a tenth of a block: min_stride() can round to the latter.
template <class Ns = std::int64_t>
FLASHMLA_HOST_DEVICE constexpr std::int32_t split_cap(std::int32_t blocks, const CostModel& cost) {
  const Ns root = sqrt_of_quotient<Ns>(Ns{blocks} * cost.block_ns, cost.split_ns);
  return static_cast<std::int32_t>(smaller<Ns>(blocks, root));
}

// Batch-invariant mode: blocks in each piece of a request with tokens, the last one may be shorter.
template <class Ns>
FLASHMLA_HOST_DEVICE constexpr std::int32_t piece_blocks(std::int32_t blocks,
                                                         const CostModel& cost) {
  const std::int32_t pieces = smaller(smaller(max_pieces, split_cap<Ns>(blocks, cost)),
                                      divide_up(blocks, min_piece_blocks));
  return divide_up(blocks, pieces);
}

template <class Ns>
FLASHMLA_HOST_DEVICE constexpr std::int32_t piece_count(std::int32_t blocks,
                                                        const CostModel& cost) {
  return blocks == 0 ? 0 : divide_up(blocks, piece_blocks<Ns>(blocks, cost));
}

// Length of a request on the line, in nanoseconds: 0 without tokens. In batch-invariant mode each
// piece has its charge.
template <class Ns>
FLASHMLA_HOST_DEVICE constexpr Ns request_cost(std::int32_t blocks, const SplitParams& params) {
  const std::int32_t charges =
      params.batch_invariant ? piece_count<Ns>(blocks, params.cost) : smaller(blocks, 1);
  return Ns{blocks} * params.cost.block_ns + Ns{charges} * params.cost.segment_ns;
}

// The shortest stride that respects a request's split cap: a request that is c strides long meets
// at most c + 1 of them. Segments of a single block need no care, cuts being at least a block
// apart.
template <class Ns>
FLASHMLA_HOST_DEVICE constexpr Ns min_stride(std::int32_t blocks, const SplitParams& params) {
  const Ns one_block = params.cost.block_ns;
  const std::int32_t cap = split_cap<Ns>(blocks, params.cost);
  if (params.batch_invariant || cap == blocks)
    return one_block;
  return larger(one_block, Divisor<Ns>(cap - 1).quotient_up(blocks * one_block));
}

// What the requests of a batch reach at most.
template <class Ns>
struct Largest {
  Ns min_stride;
  std::int32_t blocks;

  FLASHMLA_HOST_DEVICE static constexpr Largest of(const Largest& a, const Largest& b) {
    return {larger(a.min_stride, b.min_stride), larger(a.blocks, b.blocks)};
  }
};

// Segments of a request that has `own` workers to itself.
template <class Ns>
FLASHMLA_HOST_DEVICE constexpr std::int32_t own_segments(std::int32_t blocks, std::int32_t own,
                                                         const CostModel& cost) {
  return smaller(own, split_cap<Ns>(blocks, cost));
}

// Whether 32 bits are enough for nanoseconds on the line, whatever the lengths up to `max_tokens`:
// for where cuts and requests lie and a stride behind that, and for quotients, which have to be
// below 2²¹. A shorter request's min_stride() is not above twice that of the longest.
constexpr bool line_fits_32_bits(const SplitParams& params, std::int32_t max_tokens) {
  using Wide = std::int64_t;
  const WorkerSpeeds& speeds = params.speeds;
  const std::int32_t blocks = blocks_of(max_tokens, params.block_tokens);
  const Wide least = 2 * min_stride<Wide>(blocks, params);
  const Wide shares = Wide{params.workers} * larger(speeds.fast, speeds.slow);
  const Wide line = params.requests * request_cost<Wide>(blocks, params);
  const Wide stride =
      divide_up(line, speeds.parts(params.workers)) * larger(speeds.fast, speeds.slow);
  const Wide end = line + stride + params.workers * least + shares + params.cost.segment_ns +
                   params.cost.block_ns;
  constexpr Wide max_quotient = (1 << 21) - 1;
  return end <= std::numeric_limits<std::int32_t>::max() && blocks <= max_quotient &&
         least <= max_quotient && shares <= max_quotient &&
         Wide{blocks} * params.workers <= std::numeric_limits<std::int32_t>::max();
}

// How many workers each of the `requests` with tokens gets for itself; 0 where cuts on the line are
// better. A request of most blocks, cut evenly, must not take longer than a worker's share of the
// line, of which half a block is lost to cuts that move; where there is one request, nothing is.
// Workers of two speeds would not be done with even pieces at the same time.
template <class Ns>
FLASHMLA_HOST_DEVICE constexpr std::int32_t own_workers(const SplitParams& params,
                                                        std::int32_t requests, Ns stride,
                                                        std::int32_t blocks) {
  if (params.batch_invariant || requests > params.workers || requests == 0 ||
      params.speeds.fast_workers > 0)
    return 0;
  const auto own = static_cast<std::int32_t>(Divisor<Ns>(requests).quotient(params.workers));
  const Divisor<Ns> segments(own_segments<Ns>(blocks, own, params.cost));
  const Ns time = segments.quotient_up(blocks) * params.cost.block_ns;
  const Ns lost = requests > 1 ? params.cost.block_ns / 2 : 0;
  return time <= stride + lost ? own : 0;
}

// A request on the line, where those without tokens are left out. Aligned, so that a GPU moves it
// in one instruction.
template <class Ns>
struct alignas(16) LinePlace {
  Ns start;              // ns
  std::int32_t request;  // its number in the batch
  std::int32_t tokens;
};

// A place on the line where one worker's share ends and the next one's begins.
struct alignas(16) Cut {
  std::int32_t request;  // its number on the line
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
template <class Ns>
struct SplitMemory {
  LinePlace<Ns>* line;         // [b + 1], scratch
  std::int32_t* before;        // [b + 1], scratch: requests with tokens in front of each; may be
                               // split_offset
  Cut* cuts;                   // [workers + 1], scratch
  WorkRow* work;               // [workers]
  std::int32_t* split_offset;  // [b + 1]
  SplitRequest* split_list;    // [workers + 1]; names no request in batch-invariant mode
};

// The division of one batch: the line with everything that is needed to find a cut on it. Requests
// are counted on the line, so that those without tokens change nothing for the others.
template <class Ns>
struct Division {
  SplitParams params;
  const LinePlace<Ns>* line;  // [requests + 1]; the last one: its end, and b
  std::int32_t requests;      // on the line
  Divisor<Ns> stride;         // ns between the cuts of fast workers, which come first
  Divisor<Ns> slow_stride;    // the same of the others
  std::int32_t own;           // own_workers()

  FLASHMLA_HOST_DEVICE constexpr std::int32_t blocks(std::int32_t request) const {
    return blocks_of(line[request].tokens, params.block_tokens);
  }

  // The last request that begins at or before `position`. In four parts at once: every step of the
  // search waits for memory.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t request_at(Ns position) const {
    std::int32_t low = 0;
    std::int32_t high = requests;
    while (high - low > 1) {
      const std::int32_t quarter = (high - low + 3) / 4;
      const auto begins_before = [&](std::int32_t part) {
        return line[smaller(high, low + part * quarter)].start <= position ? 1 : 0;
      };
      low += (begins_before(1) + begins_before(2) + begins_before(3)) * quarter;
      high = smaller(high, low + quarter);
    }
    return low;
  }

  // Where the first of the other workers begins.
  FLASHMLA_HOST_DEVICE constexpr Ns slow_start() const {
    return params.speeds.fast_workers * stride.value();
  }

  FLASHMLA_HOST_DEVICE constexpr Ns position_of(std::int32_t worker) const {
    const std::int32_t fast = smaller(worker, params.speeds.fast_workers);
    return fast * stride.value() + (worker - fast) * slow_stride.value();
  }

  // The first worker that begins at or after `position`; the number of workers where none does. One
  // quotient, whichever the stride is.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t worker_from(Ns position) const {
    const bool fast = position < slow_start();
    const Divisor<Ns> by = fast ? stride : slow_stride;
    const Ns from = fast ? 0 : slow_start();
    const Ns before = fast ? 0 : params.speeds.fast_workers;
    return static_cast<std::int32_t>(
        smaller<Ns>(params.workers, before + by.quotient_up(position - from)));
  }

  // The first worker that begins inside of a request, behind its first block, if one does.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t first_inside(std::int32_t request) const {
    return worker_from(line[request].start + params.cost.segment_ns + params.cost.block_ns);
  }

  // The first worker that begins at or after the request's start.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t first_worker(std::int32_t request) const {
    return own > 0 ? request * own : worker_from(line[request].start);
  }

  // Where worker `index` begins, and what that adds. Straight on, without branches: a GPU then has
  // the quotients in hand at once.
  FLASHMLA_HOST_DEVICE constexpr Begin begin(std::int32_t index) const {
    if (own > 0)
      return begin_of_own(index);
    const Ns position = position_of(index);
    if (position >= line[requests].start)
      return {{requests, 0, 0, 0}, {0, 0}};
    const std::int32_t request = request_at(position);
    const Ns offset = position - line[request].start;
    if (params.batch_invariant)
      return {cut_between_pieces(request, offset), {0, 0}};
    const Ns inside = larger<Ns>(0, offset - params.cost.segment_ns);
    const Ns block = Divisor<Ns>(params.cost.block_ns).quotient(inside);
    const std::int32_t split = index - first_inside(request) + 1;
    const std::int32_t segments = worker_from(line[request + 1].start) - index + 1;
    return {{request, static_cast<std::int32_t>(block), larger(0, split), 0},
            split == 1 ? counts_of(segments) : SplitCounts{0, 0}};
  }

  // The share of worker `index`, between two cuts.
  FLASHMLA_HOST_DEVICE constexpr WorkRow tile(const SplitMemory<Ns>& memory,
                                              std::int32_t index) const {
    const Cut begin = memory.cuts[index];
    const Cut end = memory.cuts[index + 1];
    const LinePlace<Ns> first = line[begin.request];
    WorkRow tile{};
    tile.flags = (params.batch_invariant ? fixed_pieces : 0) |
                 (requests < params.requests ? empty_requests : 0);
    tile.first_request = first.request;
    tile.first_block = begin.block;
    tile.first_split = begin.split;
    tile.first_partial = -1;
    if (begin.request == end.request && begin.block == end.block) {
      tile.last_request = first.request - 1;  // no block between the two cuts
      return tile;
    }
    const std::int32_t last = end.block == 0 ? end.request - 1 : end.request;
    tile.last_request = line[last].request;
    tile.end_block = end.block == 0 ? blocks(last) : end.block;
    tile.first_length = first.tokens;
    // A request that was cut before was first cut where its second segment begins.
    if (params.batch_invariant) {
      const std::int32_t* offset = memory.split_offset + first.request;
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
    const auto request = static_cast<std::int32_t>(Divisor<Ns>(own).quotient(index));
    if (request >= requests)
      return {{requests, 0, 0, 0}, {0, 0}};
    const std::int32_t all = blocks(request);
    const std::int32_t parts = own_segments<Ns>(all, own, params.cost);
    const std::int32_t split = index - request * own;
    if (split >= parts)
      return {{request + 1, 0, 0, 0}, {0, 0}};
    const Ns block = Divisor<Ns>(parts).quotient(Ns{split} * all);
    return {{request, static_cast<std::int32_t>(block), split, 0},
            split == 1 ? counts_of(parts) : SplitCounts{0, 0}};
  }

  // The first piece that begins `offset` or more behind the request's start, or the next request.
  FLASHMLA_HOST_DEVICE constexpr Cut cut_between_pieces(std::int32_t request, Ns offset) const {
    const CostModel& cost = params.cost;
    const std::int32_t all = blocks(request);
    const std::int32_t piece = piece_blocks<Ns>(all, cost);
    const auto index =
        static_cast<std::int32_t>(divide_up(offset, Ns{piece} * cost.block_ns + cost.segment_ns));
    if (Ns{index} * piece >= all)
      return {request + 1, 0, 0, 0};
    return {request, index * piece, index, 0};
  }
};

}  // namespace flashmla::schedule
