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

template <class T>
FLASHMLA_HOST_DEVICE constexpr T smaller(T a, T b) {
  return b < a ? b : a;
}

template <class T>
FLASHMLA_HOST_DEVICE constexpr T larger(T a, T b) {
  return a < b ? b : a;
}

// a / b for a ≥ 0 and b > 0. A GPU divides 32-bit numbers several times faster.
//
// NOTE: out of line on a device. A kernel that runs once finds the instruction cache cold, which
// costs more than the instructions; a 64-bit division is a hundred of them.
FLASHMLA_HOST_DEVICE FLASHMLA_OUT_OF_LINE constexpr std::int64_t divide(std::int64_t a,
                                                                        std::int64_t b) {
  if (((a | b) >> 32) == 0)
    return static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);
  return a / b;
}

FLASHMLA_HOST_DEVICE constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return divide(a + b - 1, b);
}

// Largest integer whose square is at most `value`, digit by digit in base 2. A GPU has a square
// root of its own, which is right to 24 bits.
FLASHMLA_HOST_DEVICE constexpr std::int64_t integer_sqrt(std::int64_t value) {
#if defined(__CUDA_ARCH__)
  auto estimate = static_cast<std::int64_t>(sqrtf(static_cast<float>(value)));
  while (estimate * estimate > value)
    --estimate;
  while ((estimate + 1) * (estimate + 1) <= value)
    ++estimate;
  return estimate;
#else
  std::int64_t digit = 1;  // a power of four
  while (digit <= value / 4)
    digit *= 4;
  std::int64_t root = 0;
  for (; digit > 0; digit /= 4) {
    const bool fits = value >= root + digit;
    value -= fits ? root + digit : 0;
    root = root / 2 + (fits ? digit : 0);
  }
  return root;
#endif
}

// Blocks of a request; a request without tokens still takes one, in which its result is written.
FLASHMLA_HOST_DEVICE constexpr std::int64_t blocks_of(std::int64_t tokens,
                                                      std::int64_t block_tokens) {
  // Not by divide(): a kernel knows block_tokens, and shifts.
  return larger<std::int64_t>(1, (tokens + block_tokens - 1) / block_tokens);
}

// Most segments that a request of `blocks` may be cut into. With s segments its time is about
// blocks · block_ns / s + s · split_ns, least at s = sqrt(blocks · block_ns / split_ns).
//
// valid() makes that at least 4 · sqrt(blocks), so that cap and cap − 1 segments differ by less
// than a tenth of a block: stride_of() can round to the latter.
FLASHMLA_HOST_DEVICE constexpr std::int64_t split_cap(std::int64_t blocks, const CostModel& cost) {
  return smaller(blocks, integer_sqrt(divide(blocks * cost.block_ns, cost.split_ns)));
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
  return larger(one_block, divide_up(blocks * params.cost.block_ns, cap - 1));
}

// A place on the line where one worker's share ends and the next one's begins.
struct Cut {
  std::int32_t request;
  std::int32_t block;
};

// The division of one batch: the line with everything that is needed to find a cut on it.
struct Division {
  SplitParams params;
  const std::int32_t* lengths;  // [b], tokens
  const std::int64_t* start;    // [b + 1], where each request begins on the line, ns
  std::int64_t stride;          // ns between cuts

  FLASHMLA_HOST_DEVICE constexpr std::int64_t blocks(std::int32_t request) const {
    return blocks_of(lengths[request], params.block_tokens);
  }

  // The last request that begins at or before `position`.
  FLASHMLA_HOST_DEVICE constexpr std::int32_t request_at(std::int64_t position) const {
    std::int32_t low = 0;
    std::int32_t high = params.requests;
    while (high - low > 1) {
      const std::int32_t middle = low + (high - low) / 2;
      (start[middle] <= position ? low : high) = middle;
    }
    return low;
  }

  // Block of `request` at which a cut at `position` takes place; 0 is the request's start.
  FLASHMLA_HOST_DEVICE constexpr std::int64_t block_at(std::int32_t request,
                                                       std::int64_t position) const {
    const std::int64_t offset = position - start[request];
    const CostModel& cost = params.cost;
    if (params.batch_invariant) {
      // The first piece that begins at or after the position; blocks(request) is the request's end.
      const std::int64_t piece = piece_blocks(blocks(request), cost);
      const std::int64_t piece_cost = piece * cost.block_ns + cost.segment_ns;
      return smaller(divide_up(offset, piece_cost) * piece, blocks(request));
    }
    if (offset < cost.segment_ns)
      return 0;
    return divide(offset - cost.segment_ns, cost.block_ns);
  }

  // Where worker `index` begins.
  FLASHMLA_HOST_DEVICE constexpr Cut cut(std::int32_t index) const {
    const std::int64_t position = index * stride;
    if (position >= start[params.requests])
      return {params.requests, 0};
    const std::int32_t request = request_at(position);
    const std::int64_t block = block_at(request, position);
    if (block == blocks(request))
      return {request + 1, 0};
    return {request, static_cast<std::int32_t>(block)};
  }

  // Cuts with 0 < block in `request` that come at or before worker `index`, the request's own
  // included.
  FLASHMLA_HOST_DEVICE constexpr std::int64_t cuts_inside(std::int32_t request,
                                                          std::int64_t until) const {
    const std::int64_t first_inside =
        start[request] + params.cost.segment_ns + params.cost.block_ns;
    const std::int64_t last_inside = smaller(until, start[request + 1] - 1);
    return larger<std::int64_t>(0,
                                divide(last_inside, stride) - divide_up(first_inside, stride) + 1);
  }

  // Segments that a request is cut into.
  FLASHMLA_HOST_DEVICE constexpr std::int64_t segments(std::int32_t request) const {
    if (params.batch_invariant)
      return piece_count(blocks(request), params.cost);
    return 1 + cuts_inside(request, start[request + 1] - 1);
  }

  // The beginning of a worker's share.
  FLASHMLA_HOST_DEVICE constexpr WorkTile begin_tile(std::int32_t worker) const {
    const Cut begin = cut(worker);
    WorkTile tile{};
    tile.flags = params.batch_invariant ? fixed_pieces : 0;
    tile.first_request = begin.request;
    tile.first_block = begin.block;
    if (begin.block > 0)
      tile.first_split = static_cast<std::int32_t>(
          params.batch_invariant
              ? divide(begin.block, piece_blocks(blocks(begin.request), params.cost))
              : cuts_inside(begin.request, worker * stride));
    return tile;
  }

  // The end of a worker's share, where the next one begins.
  FLASHMLA_HOST_DEVICE constexpr void end_tile(WorkTile& tile, const Cut& end) const {
    tile.last_request = end.block == 0 ? end.request - 1 : end.request;
    if (tile.first_request == end.request && tile.first_block == end.block)
      tile.last_request = tile.first_request - 1;  // no block between the two cuts
    else
      tile.end_block =
          end.block == 0 ? static_cast<std::int32_t>(blocks(tile.last_request)) : end.block;
  }
};

// Fills work [workers] and split_offset [b + 1]; `start` [b + 1] is scratch. `team` runs the loops:
// one thread (SerialTeam) or many, with the same result. It offers
//   scan(n, prefix, value)  prefix[i] = Σ value(0 … i−1), i = 0 … n
//   scan_and_max(n, prefix, value, candidate)
//                           the same, and returns the largest candidate(i), 0 when n is 0
//   for_each(n, body)       body(0 … n−1) in any order
// and each returns when its results are visible to the whole team.
template <class Team>
FLASHMLA_HOST_DEVICE void split_kv(const SplitParams& params, const std::int32_t* lengths,
                                   std::int64_t* start, WorkTile* work, std::int32_t* split_offset,
                                   const Team& team) {
  const std::int32_t requests = params.requests;
  const auto blocks = [&](std::int32_t r) { return blocks_of(lengths[r], params.block_tokens); };
  const std::int64_t floor = team.scan_and_max(
      requests, start, [&](std::int32_t r) { return request_cost(blocks(r), params); },
      [&](std::int32_t r) { return least_stride(blocks(r), params); });
  const std::int64_t share = divide_up(start[requests], params.workers);
  const Division division{params, lengths, start, larger<std::int64_t>(1, larger(share, floor))};

  team.for_each(params.workers, [&](std::int32_t w) { work[w] = division.begin_tile(w); });
  team.for_each(params.workers, [&](std::int32_t w) {
    division.end_tile(work[w], w + 1 < params.workers
                                   ? Cut{work[w + 1].first_request, work[w + 1].first_block}
                                   : Cut{requests, 0});
  });
  team.scan(requests, split_offset, [&](std::int32_t r) {
    const auto segments = static_cast<std::int32_t>(division.segments(r));
    return segments == 1 ? 0 : segments;
  });
}

// Fills list [workers + 1], whose last entry has the sum of all steps, from a finished schedule.
// Not in batch-invariant mode, where cuts do not follow the workers.
template <class Team>
FLASHMLA_HOST_DEVICE void list_split_requests(const SplitParams& params, const WorkTile* work,
                                              const std::int32_t* split_offset,
                                              std::int32_t* steps_before, SplitRequest* list,
                                              const Team& team) {
  const auto entry = [&](std::int32_t w) {
    const std::int32_t request = work[w].first_request;
    if (work[w].first_block == 0 || work[w].first_split != 1)
      return SplitRequest{request, 0, 0, 0};
    const std::int32_t first = split_offset[request];
    return SplitRequest{request, first, split_offset[request + 1] - first, 0};
  };
  team.scan(params.workers, steps_before,
            [&](std::int32_t w) { return combine_steps(entry(w).splits); });
  team.for_each(params.workers + 1, [&](std::int32_t w) {
    list[w] = w < params.workers ? entry(w) : SplitRequest{0, 0, 0, 0};
    list[w].steps_before = steps_before[w];
  });
}

struct SerialTeam {
  template <class Sum, class Value>
  void scan(std::int32_t n, Sum* prefix, Value value) const {
    Sum sum = 0;
    for (std::int32_t i = 0; i < n; ++i) {
      prefix[i] = sum;
      sum += value(i);
    }
    prefix[n] = sum;
  }

  template <class Sum, class Value, class Candidate>
  std::int64_t scan_and_max(std::int32_t n, Sum* prefix, Value value, Candidate candidate) const {
    scan(n, prefix, value);
    std::int64_t largest = 0;
    for (std::int32_t i = 0; i < n; ++i)
      largest = larger(largest, candidate(i));
    return largest;
  }

  template <class Body>
  void for_each(std::int32_t n, Body body) const {
    for (std::int32_t i = 0; i < n; ++i)
      body(i);
  }
};

// Calls body(Segment) for each segment of a worker, in order.
template <class Body>
FLASHMLA_HOST_DEVICE void for_each_segment(const WorkTile& tile, const SplitParams& params,
                                           const std::int32_t* lengths, Body body) {
  for (std::int32_t r = tile.first_request; r <= tile.last_request; ++r) {
    const auto blocks = static_cast<std::int32_t>(blocks_of(lengths[r], params.block_tokens));
    const std::int32_t begin = r == tile.first_request ? tile.first_block : 0;
    const std::int32_t end = r == tile.last_request ? smaller(tile.end_block, blocks) : blocks;
    const std::int32_t step = (tile.flags & fixed_pieces) != 0
                                  ? static_cast<std::int32_t>(piece_blocks(blocks, params.cost))
                                  : blocks;
    std::int32_t split = r == tile.first_request ? tile.first_split : 0;
    std::int32_t block = begin;
    while (block < end) {
      const std::int32_t next = block + smaller(step, end - block);
      body(Segment{r, block, next, split++});
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
      max_pieces, divide_up(blocks_of(max_tokens, params.block_tokens), min_piece_blocks));
  return most == 1 ? 0 : params.requests * most;
}

}  // namespace flashmla::schedule
