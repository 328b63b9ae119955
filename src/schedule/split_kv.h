// split_kv: divides the cached tokens of a batch among workers. A pure function of integers,
// compiled by the host compiler and by nvcc alike, so that the CPU backend walks exactly the plan
// that a GPU makes.
//
// Requests are laid on a line of nanoseconds, one after the other: request r takes segment_ns for
// its charge and then block_ns for each of its blocks. The line is cut every `stride` nanoseconds;
// a cut that falls inside a block moves to the block's start. Worker w gets what lies between cuts
// w and w + 1, so it can find its own share from the prefix sums alone.
//
// The stride is total / workers, but never so short that a request would be cut more often than its
// split_cap allows. A worker's time is then at most
//   stride + block_ns (a cut that moved) + segment_ns (a request that another worker began).
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
// than a tenth of a block: stride_of() can round to the latter.
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
  Divisor stride;               // ns between cuts

  FLASHMLA_HOST_DEVICE constexpr std::int64_t blocks(std::int32_t request) const {
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

  // The first worker that begins at or after `position`; the number of workers where none does.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t worker_from(std::int64_t position) const {
    return static_cast<std::int32_t>(
        smaller<std::int64_t>(params.workers, stride.quotient_up(position)));
  }

  // The first worker that begins inside of a request, behind its first block, if one does.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t first_inside(std::int32_t request) const {
    return worker_from(start[request] + params.cost.segment_ns + params.cost.block_ns);
  }

  // Where worker `index` begins, and what that adds. Straight on, without branches: a GPU then has
  // the quotients in hand at once.
  FLASHMLA_HOST_DEVICE constexpr Begin begin(std::int32_t index) const {
    const std::int64_t position = index * stride.value();
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
            split == 1 ? SplitCounts{segments, combine_steps(segments)} : SplitCounts{0, 0}};
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

// `team` runs the loops: one thread (SerialTeam) or many, with the same result. It offers
//   scan(n, value, store)  store(i, Σ value(0 … i−1), value(i)) for i < n, by the thread that
//                          called value(i); then store(n, Σ, zero)
//   scan_and_max(n, value, candidate, store)
//                          the same, and returns the largest candidate(i), 0 when n is 0
//   for_each(n, body)      body(0 … n−1) in any order
// and each returns when its results are visible to the whole team.
//
// A GPU runs this in front of a decoding call, so that what counts is how long the chain of steps
// is that wait for one another, and not how much each thread does.
template <class Team>
FLASHMLA_HOST_DEVICE void split_kv(const SplitParams& params, const std::int32_t* lengths,
                                   const SplitMemory& memory, const Team& team) {
  const std::int32_t requests = params.requests;
  const auto blocks = [&](std::int32_t r) { return blocks_of(lengths[r], params.block_tokens); };
  const std::int64_t floor = team.scan_and_max(
      requests, [&](std::int32_t r) { return request_cost(blocks(r), params); },
      [&](std::int32_t r) { return least_stride(blocks(r), params); },
      [&](std::int32_t r, std::int64_t before, std::int64_t) { memory.start[r] = before; });
  const std::int64_t share = Divisor(params.workers).quotient_up(memory.start[requests]);
  const Division division{params, lengths, memory.start,
                          Divisor(larger<std::int64_t>(1, larger(share, floor)))};

  team.scan(
      params.workers,
      [&](std::int32_t w) {
        const Begin begin = division.begin(w);
        memory.cuts[w] = begin.cut;
        return begin.counts;
      },
      [&](std::int32_t w, const SplitCounts& before, const SplitCounts& own) {
        if (w == params.workers)
          memory.cuts[w] = {requests, 0, 0, 0};
        memory.cuts[w].partials = before.partials;
        memory.split_list[w] = {memory.cuts[w].request, before.partials, own.partials,
                                before.steps};
      });
  if (params.batch_invariant)
    team.scan(
        requests,
        [&](std::int32_t r) {
          const auto pieces = static_cast<std::int32_t>(piece_count(blocks(r), params.cost));
          return pieces == 1 ? 0 : pieces;
        },
        [&](std::int32_t r, std::int32_t before, std::int32_t) {
          memory.split_offset[r] = before;
        });
  team.for_each(larger(params.workers, requests + 1), [&](std::int32_t i) {
    if (i < params.workers)
      memory.work[i] = division.tile(memory, i);
    // Cuts inside of the requests before come before the request's start, and only they do.
    if (!params.batch_invariant && i <= requests)
      memory.split_offset[i] = memory.cuts[division.worker_from(memory.start[i])].partials;
  });
}

struct SerialTeam {
  template <class Value, class Store>
  FLASHMLA_HOST_DEVICE constexpr void scan(std::int32_t n, Value value, Store store) const {
    decltype(value(0)) sum{};
    for (std::int32_t i = 0; i < n; ++i) {
      const auto own = value(i);
      store(i, sum, own);
      sum = sum + own;
    }
    store(n, sum, {});
  }

  template <class Value, class Candidate, class Store>
  FLASHMLA_HOST_DEVICE constexpr std::int64_t scan_and_max(std::int32_t n, Value value,
                                                           Candidate candidate, Store store) const {
    scan(n, value, store);
    std::int64_t largest = 0;
    for (std::int32_t i = 0; i < n; ++i)
      largest = larger(largest, candidate(i));
    return largest;
  }

  template <class Body>
  FLASHMLA_HOST_DEVICE constexpr void for_each(std::int32_t n, Body body) const {
    for (std::int32_t i = 0; i < n; ++i)
      body(i);
  }
};

// Calls body(Segment) for each segment of a worker, in order.
template <class Body>
FLASHMLA_HOST_DEVICE void for_each_segment(const WorkTile& tile, const SplitParams& params,
                                           const std::int32_t* lengths,
                                           const std::int32_t* split_offset, Body body) {
  for (std::int32_t r = tile.first_request; r <= tile.last_request; ++r) {
    std::int32_t length = tile.first_length;
    std::int32_t partial = tile.first_partial;
    if (r != tile.first_request) {
      length = lengths[r];
      partial = split_offset[r + 1] == split_offset[r] ? -1 : split_offset[r];
    }
    const std::int32_t blocks = blocks_of(length, params.block_tokens);
    std::int32_t step = blocks;
    // Pieces of equal length: their number says how long they are.
    if ((tile.flags & fixed_pieces) != 0 && partial >= 0) {
      const auto pieces = static_cast<std::uint32_t>(split_offset[r + 1] - split_offset[r]);
      step = static_cast<std::int32_t>((static_cast<std::uint32_t>(blocks) + pieces - 1) / pieces);
    }
    const std::int32_t end = r == tile.last_request ? smaller(tile.end_block, blocks) : blocks;
    std::int32_t split = r == tile.first_request ? tile.first_split : 0;
    std::int32_t block = r == tile.first_request ? tile.first_block : 0;
    while (block < end) {
      const std::int32_t next = block + smaller(step, end - block);
      body(Segment{r, length, block, next, split, partial < 0 ? -1 : partial + split});
      ++split;
      block = next;
    }
  }
}

// Most partial results that a schedule can need: two for every cut, or every piece of every
// request.
constexpr std::int64_t max_partials(const SplitParams& params, std::int64_t max_tokens) {
  if (!params.batch_invariant)
    return 2 * (std::int64_t{params.workers} - 1);
  const std::int64_t most = smaller<std::int64_t>(
      max_pieces,
      larger<std::int64_t>(1, divide_up(max_tokens, params.block_tokens * min_piece_blocks)));
  return most == 1 ? 0 : params.requests * most;
}

}  // namespace flashmla::schedule
