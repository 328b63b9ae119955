// The arithmetic of split_kv: how the cached tokens of a batch are divided. The comment at the top
// of split_kv.h explains the line of nanoseconds and the cuts.
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
  WorkerSpeeds speeds = {};  // all equal in batch-invariant mode
};

// In batch-invariant mode a request is cut into pieces that depend only on its own length: at most
// max_pieces pieces, of at least min_piece_blocks blocks each.
inline constexpr std::int32_t max_pieces = 32;
inline constexpr std::int32_t min_piece_blocks = 8;

// The number of blocks of a request; 0 where it has no tokens.
FLASHMLA_HOST_DEVICE constexpr std::int32_t blocks_of(std::int32_t tokens,
                                                      std::int32_t block_tokens) {
  // A plain division and not divide(): block_tokens is a constant in a kernel, so that the division
  // becomes a shift.
  const auto size = static_cast<std::uint32_t>(block_tokens);
  return static_cast<std::int32_t>((static_cast<std::uint32_t>(tokens) + size - 1) / size);
}

// The largest number of segments that a request of `blocks` blocks may be cut into. With s segments
// the request takes about blocks · block_ns / s + s · split_ns. The minimum of this time is at
// s = sqrt(blocks · block_ns / split_ns), which is the cap.
//
// Under valid() the cap is at least 4 · sqrt(blocks). So the lengths of a segment with cap and with
// cap − 1 segments differ by less than a tenth of a block, and min_stride() may take cap − 1.
template <class Ns = std::int64_t>
FLASHMLA_HOST_DEVICE constexpr std::int32_t split_cap(std::int32_t blocks, const CostModel& cost) {
  const Ns root = sqrt_of_quotient<Ns>(Ns{blocks} * cost.block_ns, cost.split_ns);
  return static_cast<std::int32_t>(smaller<Ns>(blocks, root));
}

// Batch-invariant mode: the number of blocks in each piece of a request with tokens. The last piece
// may be shorter.
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

// The length of a request on the line, in nanoseconds: segment_ns, and block_ns for each block. A
// request without tokens has length 0. In batch-invariant mode each piece has its own segment_ns.
template <class Ns>
FLASHMLA_HOST_DEVICE constexpr Ns request_cost(std::int32_t blocks, const SplitParams& params) {
  const std::int32_t segments =
      params.batch_invariant ? piece_count<Ns>(blocks, params.cost) : smaller(blocks, 1);
  return Ns{blocks} * params.cost.block_ns + Ns{segments} * params.cost.segment_ns;
}

// The smallest stride (nanoseconds between two cuts) with which a request has at most split_cap()
// segments. A request that is c strides long has at most c + 1 segments, so the length is divided
// by cap − 1. Where the cap is `blocks`, a stride of one block is long enough.
template <class Ns>
FLASHMLA_HOST_DEVICE constexpr Ns min_stride(std::int32_t blocks, const SplitParams& params) {
  const Ns one_block = params.cost.block_ns;
  const std::int32_t cap = split_cap<Ns>(blocks, params.cost);
  if (params.batch_invariant || cap == blocks)
    return one_block;
  return larger(one_block, Divisor<Ns>(cap - 1).quotient_up(blocks * one_block));
}

// Maxima over the requests of a batch.
template <class Ns>
struct Largest {
  Ns min_stride;  // ns
  std::int32_t blocks;

  FLASHMLA_HOST_DEVICE static constexpr Largest of(const Largest& a, const Largest& b) {
    return {larger(a.min_stride, b.min_stride), larger(a.blocks, b.blocks)};
  }
};

// The number of segments of a request that has `own` workers to itself.
template <class Ns>
FLASHMLA_HOST_DEVICE constexpr std::int32_t own_segments(std::int32_t blocks, std::int32_t own,
                                                         const CostModel& cost) {
  return smaller(own, split_cap<Ns>(blocks, cost));
}

// Whether 32 bits are enough for the nanoseconds of the line, whatever the lengths of the requests
// are, up to `max_tokens`. Two kinds of numbers have to fit: places on the line up to one stride
// behind its end, and quotients, which have to be below 2²¹ (Divisor). The min_stride() of a
// shorter request is at most twice that of the longest one.
constexpr bool line_fits_32_bits(const SplitParams& params, std::int32_t max_tokens) {
  using Wide = std::int64_t;
  const WorkerSpeeds& speeds = params.speeds;
  const std::int32_t blocks = blocks_of(max_tokens, params.block_tokens);
  const Wide min_stride_ns = 2 * min_stride<Wide>(blocks, params);
  const Wide max_speeds = Wide{params.workers} * larger(speeds.fast, speeds.slow);
  const Wide line = params.requests * request_cost<Wide>(blocks, params);
  const Wide stride =
      divide_up(line, speeds.total(params.workers)) * larger(speeds.fast, speeds.slow);
  const Wide end = line + stride + params.workers * min_stride_ns + max_speeds +
                   params.cost.segment_ns + params.cost.block_ns;
  constexpr Wide max_quotient = (1 << 21) - 1;
  return end <= std::numeric_limits<std::int32_t>::max() && blocks <= max_quotient &&
         min_stride_ns <= max_quotient && max_speeds <= max_quotient &&
         Wide{blocks} * params.workers <= std::numeric_limits<std::int32_t>::max();
}

// How many workers of its own each of the `requests` requests with tokens gets. 0 means that cuts
// on the line are better. The longest request has `blocks` blocks. Cut evenly, it must not take
// longer than `stride`, a worker's share of the line. With several requests it may take half a
// block longer, because cuts on the line lose this time when they move to the start of a block.
// Workers of two speeds never get even pieces, since they would not end at the same time.
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

// The place of a request on the line. Requests without tokens have none. The struct is aligned, so
// that a GPU moves it in one instruction.
template <class Ns>
struct alignas(16) LinePlace {
  Ns start;              // ns
  std::int32_t request;  // its number in the batch
  std::int32_t tokens;
};

// A place on the line where the share of one worker ends and the share of the next one begins.
struct alignas(16) Cut {
  std::int32_t request;   // number of the request on the line
  std::int32_t block;     // first block behind the cut
  std::int32_t split;     // number of the segment of this request that begins here
  std::int32_t partials;  // number of partial results of all requests whose first cut is earlier
};

// What a cut adds to the sums over all cuts. Only the first cut inside a request adds something:
// the partial results and the combine steps of this request. In batch-invariant mode no cut adds
// anything, since the pieces do not follow the workers there.
struct SplitCounts {
  std::int32_t partials;
  std::int32_t steps;  // combine_steps() of the request

  FLASHMLA_HOST_DEVICE constexpr SplitCounts operator+(const SplitCounts& other) const {
    return {partials + other.partials, steps + other.steps};
  }
};

// Where a worker begins.
struct Begin {
  Cut cut;
  SplitCounts counts;
};

// The arrays that split_kv fills, and its scratch memory.
template <class Ns>
struct SplitMemory {
  LinePlace<Ns>* line;         // [b + 1], scratch
  std::int32_t* before;        // [b + 1], scratch: the number of requests with tokens in front of
                               // each request; may be the memory of split_offset
  Cut* cuts;                   // [workers + 1], scratch
  WorkRow* work;               // [workers]
  std::int32_t* split_offset;  // [b + 1]
  SplitRequest* split_list;    // [workers + 1]; names no request in batch-invariant mode
};

// The division of one batch: the line, and everything that is needed to find a cut on it. A request
// number counts only the requests on the line, so that requests without tokens change nothing for
// the others.
template <class Ns>
struct Division {
  SplitParams params;
  const LinePlace<Ns>* line;  // [requests + 1]; the last entry holds the end of the line, and b
  std::int32_t requests;      // on the line
  Divisor<Ns> stride;         // ns between the cuts of fast workers, which come first
  Divisor<Ns> slow_stride;    // ns between the cuts of the other workers
  std::int32_t own;           // workers of each request, by own_workers(); 0: cuts on the line

  FLASHMLA_HOST_DEVICE constexpr std::int32_t blocks(std::int32_t request) const {
    return blocks_of(line[request].tokens, params.block_tokens);
  }

  // The last request that begins at or before `position`. The search divides its range into four
  // parts and looks at three places at once, because each round waits for memory.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t request_at(Ns position) const {
    std::int32_t low = 0;
    std::int32_t high = requests;
    while (high - low > 1) {
      const std::int32_t quarter = (high - low + 3) / 4;
      const auto begins_before = [&](std::int32_t quarters) {
        return line[smaller(high, low + quarters * quarter)].start <= position ? 1 : 0;
      };
      low += (begins_before(1) + begins_before(2) + begins_before(3)) * quarter;
      high = smaller(high, low + quarter);
    }
    return low;
  }

  // Where the first slow worker begins, in ns.
  FLASHMLA_HOST_DEVICE constexpr Ns slow_start() const {
    return params.speeds.fast_workers * stride.value();
  }

  FLASHMLA_HOST_DEVICE constexpr Ns position_of(std::int32_t worker) const {
    const std::int32_t fast = smaller(worker, params.speeds.fast_workers);
    return fast * stride.value() + (worker - fast) * slow_stride.value();
  }

  // The first worker that begins at or after `position`. The result is the number of workers where
  // no worker does. The stride is chosen first, so that there is only one quotient.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t worker_from(Ns position) const {
    const bool fast = position < slow_start();
    const Divisor<Ns> by = fast ? stride : slow_stride;
    const Ns from = fast ? 0 : slow_start();
    const Ns before = fast ? 0 : params.speeds.fast_workers;
    return static_cast<std::int32_t>(
        smaller<Ns>(params.workers, before + by.quotient_up(position - from)));
  }

  // The first worker that begins inside of a request, behind its first block. Where no worker does,
  // this is the first one that begins at or behind the end of the request.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t first_inside(std::int32_t request) const {
    return worker_from(line[request].start + params.cost.segment_ns + params.cost.block_ns);
  }

  // The first worker that begins at or after the request's start.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t first_worker(std::int32_t request) const {
    return own > 0 ? request * own : worker_from(line[request].start);
  }

  // Where worker `index` begins, and what this cut adds to the sums. The code has few branches, so
  // that a GPU computes the quotients side by side.
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

  // The share of worker `index`, which lies between two cuts.
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
    // The partial results of a request are counted at its first cut, where its second segment
    // (split 1) begins. This is the cut of worker index + 1 − begin.split.
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

  // begin() where each request has `own` workers. Workers above the split cap are idle.
  FLASHMLA_HOST_DEVICE constexpr Begin begin_of_own(std::int32_t index) const {
    const auto request = static_cast<std::int32_t>(Divisor<Ns>(own).quotient(index));
    if (request >= requests)
      return {{requests, 0, 0, 0}, {0, 0}};
    const std::int32_t request_blocks = blocks(request);
    const std::int32_t segments = own_segments<Ns>(request_blocks, own, params.cost);
    const std::int32_t split = index - request * own;
    if (split >= segments)
      return {{request + 1, 0, 0, 0}, {0, 0}};
    const Ns block = Divisor<Ns>(segments).quotient(Ns{split} * request_blocks);
    return {{request, static_cast<std::int32_t>(block), split, 0},
            split == 1 ? counts_of(segments) : SplitCounts{0, 0}};
  }

  // Batch-invariant mode: the first piece of the request that begins at least `offset` nanoseconds
  // behind the request's start. The start of the next request where there is no such piece.
  FLASHMLA_HOST_DEVICE constexpr Cut cut_between_pieces(std::int32_t request, Ns offset) const {
    const CostModel& cost = params.cost;
    const std::int32_t request_blocks = blocks(request);
    const std::int32_t piece = piece_blocks<Ns>(request_blocks, cost);
    const auto index =
        static_cast<std::int32_t>(divide_up(offset, Ns{piece} * cost.block_ns + cost.segment_ns));
    if (Ns{index} * piece >= request_blocks)
      return {request + 1, 0, 0, 0};
    return {request, index * piece, index, 0};
  }
};

}  // namespace flashmla::schedule
