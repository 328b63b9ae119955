// split_kv: divides the cached tokens of a batch among workers. A pure function of integers,
// compiled by the host compiler and by nvcc alike, so that the CPU backend walks exactly the plan
// that a GPU makes.
//
// Requests are laid on a line of nanoseconds, one after the other: request r takes segment_ns for
// its charge and then block_ns for each of its blocks. The line is cut every `stride` nanoseconds;
// a cut that falls inside a block moves to the block's start. Worker w gets what lies between cuts
// w and w + 1, so it can find its own share from the prefix sums alone. Requests without tokens are
// left out: what the others get does not depend on how many there are, nor on where they stand.
//
// The stride is total / workers, but never so short that a request would be cut more often than its
// split_cap allows. A worker's time is then at most
//   stride + block_ns (a cut that moved) + segment_ns (a request that another worker began).
//
// Where the first workers are faster than the others, there are two strides, in proportion to their
// speeds: cuts are the longer one apart up to where the last of the fast workers ends.
//
// Where requests are few and about equally long, each gets as many workers of its own instead, and
// is cut evenly: no worker has two requests then, and fewer partial results have to be combined.
#pragma once

#include <cstdint>

#include "schedule/division.h"

namespace flashmla::schedule {

// `team` runs the loops: one thread (SerialTeam) or many, with the same result. It offers
//   scan(n, value, store)  store(i, Σ value(0 … i−1), value(i)) for i < n, by the thread that
//                          called value(i); then store(n, Σ, zero)
//   lay_out(n, cost, candidate, store)
//                          store(i, how many of 0 … i−1 cost something, Σ cost(0 … i−1), cost(i))
//                          for i < n, by the thread that called cost(i); then the same for n, which
//                          costs 0. Returns the Largest::of() all candidate(i), 0 when n is 0
//   for_each(n, body)      body(0 … n−1) in any order
// and each returns when its results are visible to the whole team.
//
// A GPU runs this in front of a decoding call, so that what counts is how long the chain of steps
// is that wait for one another, and not how much each thread does.
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
  const Ns part = divide_up(memory.line[requests].start, Ns{speeds.parts(params.workers)});
  const Ns least = larger<Ns>(1, largest.min_stride);
  const Ns slow_stride = larger(part * speeds.slow, least);
  const Division<Ns> division{
      .params = params,
      .line = memory.line,
      .requests = requests,
      .stride = Divisor<Ns>(larger(part * speeds.fast, least)),
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
    // Cuts inside of the requests before come before the request's start, and only they do.
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

// Most partial results that a schedule can need: two for every cut, or every piece of every
// request.
constexpr std::int64_t max_partials(const SplitParams& params, std::int64_t max_tokens) {
  if (!params.batch_invariant)
    return 2 * (std::int64_t{params.workers} - 1);
  const auto most = smaller<std::int64_t>(
      max_pieces,
      larger<std::int64_t>(1, divide_up(max_tokens, params.block_tokens * min_piece_blocks)));
  return most == 1 ? 0 : params.requests * most;
}

}  // namespace flashmla::schedule
