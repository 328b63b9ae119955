// split_kv divides the cached tokens of a batch among workers. It is a pure function of integers.
// The host compiler and nvcc compile the same source, so that the CPU backend walks exactly the
// plan that a GPU makes.
//
// Requests with tokens lie on a line of nanoseconds, one behind the other. A request takes
// segment_ns, and block_ns for each of its blocks. The line is cut every `stride` nanoseconds. A
// cut that falls inside a block moves to the start of the block. Worker w gets what lies between
// cuts w and w + 1, so that it finds its share from the prefix sums alone. Requests without tokens
// have no place on the line: neither their number nor their order changes what the others get.
//
// The stride is total / workers. It is longer where a request would otherwise be cut into more
// segments than its split_cap. A worker then takes at most
//   stride + block_ns (for a cut that moved) + segment_ns (for a request that another one began).
//
// Where the first workers are faster than the others, there are two strides, in proportion to the
// speeds. The cuts of the fast workers come first.
//
// Where requests are few and about equally long, each request gets the same number of workers of
// its own and is cut evenly. Each worker then has one request at most, and fewer partial results
// have to be combined.
#pragma once

#include <cstdint>

#include "schedule/division.h"

namespace flashmla::schedule {

// `team` runs the loops, with one thread (SerialTeam) or with many. The result is the same. A team
// has these functions, each of which returns when the whole team sees its results:
//   scan(n, value, store)  calls store(i, Σ value(0 … i−1), value(i)) for i < n, in the thread that
//                          called value(i), and then store(n, Σ value(0 … n−1), 0)
//   lay_out(n, cost, candidate, store)
//                          calls store(i, how many of 0 … i−1 have a cost above 0,
//                          Σ cost(0 … i−1), cost(i)) for i < n, in the thread that called cost(i).
//                          Then it calls the same for i = n, with a cost of 0. It returns the
//                          Largest::of() all candidate(i); zeros where n is 0
//   for_each(n, body)      calls body(0 … n−1) in any order
//
// A GPU runs this function in front of a decoding call. Its time there is that of the chain of
// loads and scans that wait for one another, not that of the work of each thread.
template <class Ns, class Team>
FLASHMLA_HOST_DEVICE void split_kv(const SplitParams& params, const std::int32_t* lengths,
                                   const SplitMemory<Ns>& memory, const Team& team) {
  const std::int32_t batch = params.requests;
  const auto blocks = [&](std::int32_t r) { return blocks_of(lengths[r], params.block_tokens); };
  const auto largest = team.lay_out(
      batch, [&](std::int32_t r) { return request_cost<Ns>(blocks(r), params); },
      [&](std::int32_t r) { return Largest<Ns>{min_stride<Ns>(blocks(r), params), blocks(r)}; },
      [&](std::int32_t r, std::int32_t on_line, Ns start, Ns cost) {
        memory.before[r] = on_line;
        if (cost > 0 || r == batch)
          memory.line[on_line] = {start, r, r < batch ? lengths[r] : 0};
      });
  const std::int32_t requests = memory.before[batch];  // on the line
  const WorkerSpeeds& speeds = params.speeds;
  const Ns share = divide_up(memory.line[requests].start, Ns{speeds.total(params.workers)});
  const Ns min_stride_ns = larger<Ns>(1, largest.min_stride);
  const Ns slow_stride = larger(share * speeds.slow, min_stride_ns);
  const Division<Ns> division{
      .params = params,
      .line = memory.line,
      .requests = requests,
      .stride = Divisor<Ns>(larger(share * speeds.fast, min_stride_ns)),
      .slow_stride = Divisor<Ns>(slow_stride),
      .own = own_workers<Ns>(params, requests, slow_stride, largest.blocks)};

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
        memory.split_list[w] = {memory.line[memory.cuts[w].request].request, before.partials,
                                own.partials, before.steps};
      });
  if (params.batch_invariant)
    team.scan(
        batch,
        [&](std::int32_t r) {
          const std::int32_t pieces = piece_count<Ns>(blocks(r), params.cost);
          return pieces == 1 ? 0 : pieces;
        },
        [&](std::int32_t r, std::int32_t before, std::int32_t) {
          memory.split_offset[r] = before;
        });
  team.for_each(larger(params.workers, batch + 1), [&](std::int32_t i) {
    if (i < params.workers)
      memory.work[i] = division.tile(memory, i);
    // The first worker that begins at or behind the start of request i has counted the partial
    // results of exactly the requests in front of it.
    if (!params.batch_invariant && i <= batch)
      memory.split_offset[i] = memory.cuts[division.first_worker(memory.before[i])].partials;
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

  template <class Cost, class Candidate, class Store>
  FLASHMLA_HOST_DEVICE constexpr auto lay_out(std::int32_t n, Cost cost, Candidate candidate,
                                              Store store) const {
    decltype(cost(0)) sum = 0;
    decltype(candidate(0)) largest{};
    std::int32_t laid = 0;
    for (std::int32_t i = 0; i < n; ++i) {
      const auto own = cost(i);
      largest = decltype(largest)::of(largest, candidate(i));
      store(i, laid, sum, own);
      sum += own;
      laid += own > 0 ? 1 : 0;
    }
    store(n, laid, sum, 0);
    return largest;
  }

  template <class Body>
  FLASHMLA_HOST_DEVICE constexpr void for_each(std::int32_t n, Body body) const {
    for (std::int32_t i = 0; i < n; ++i)
      body(i);
  }
};

// The largest number of partial results of a schedule: two for each cut between workers, or, in
// batch-invariant mode, one for each piece of each request.
constexpr std::int64_t max_partials(const SplitParams& params, std::int64_t max_tokens) {
  if (!params.batch_invariant)
    return 2 * (std::int64_t{params.workers} - 1);
  const auto pieces = smaller<std::int64_t>(
      max_pieces,
      larger<std::int64_t>(1, divide_up(max_tokens, params.block_tokens * min_piece_blocks)));
  return pieces == 1 ? 0 : params.requests * pieces;
}

}  // namespace flashmla::schedule
