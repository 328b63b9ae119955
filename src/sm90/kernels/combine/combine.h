// Combines the partial results of split requests by log-sum-exp:
//   lse = log2 Σ_p 2^lse_p,  out = Σ_p 2^(lse_p − lse) out_p
// and applies the sink. Work is dealt in steps of 128 threads, each of which has 8 or 9 loads of 8
// columns (a unit) of one row in flight at once: of several units where there are few partial
// results, of a part of one unit, shared among lanes, where there are many. Requests that are not
// split cost nothing.
//
// NOTE: a block runs this once and finds the instruction cache cold. What counts is how many
// instructions follow each other, and that they do follow each other: loads are predicated, nothing
// is divided.
#pragma once

#include <cstdint>

#include "sm90/kernels/combine/partials.h"

namespace flashmla::sm90::combine {

inline constexpr int threads = 128;
inline constexpr int blocks_of_multiprocessor = 7;
inline constexpr int most_lanes = schedule::most_combine_lanes;
inline constexpr int most_workers = schedule::most_combined_workers;
static_assert(most_workers <= 2 * threads, "a thread looks at two entries");
inline constexpr int units_per_row = v_dim / unit_columns;

// Batch-invariant mode: 2^piece_lane_bits threads share a unit; and the steps of a request.
inline constexpr int piece_lane_bits = 2;
FLASHMLA_HOST_DEVICE constexpr std::int64_t piece_steps(std::int64_t rows) {
  constexpr int units = threads >> piece_lane_bits;
  return (rows * units_per_row + units - 1) / units;
}

// What a block works on.
struct Step {
  Entry entry;
  std::int32_t steps;  // that every combine_rows rows of the request take
};

struct SharedStorage {
  Step step;
  float max[most_lanes];
  float sum[most_lanes];
  float4 out[threads][unit_columns / half_unit];
};

// Steps of at most `Loads` partial results: a thread has `Units` units of a row, and weighs them
// once.
template <class T, int Units, int Loads>
FLASHMLA_DEVICE void combine_few(const Params& p, const Entry& entry, std::int32_t step) {
  constexpr int row_threads = units_per_row / Units;
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  const std::int32_t row = step * (threads / row_threads) + thread / row_threads;
  const std::int32_t column = thread % row_threads * unit_columns;
  Partials<Units, Loads> partials;
  partials.load(p, entry, 0, 1, row, column);
  const ResultPlace place(p, entry, row, column);
  if (row >= p.kv_heads * p.rows)
    return;
  float max = ops::lowest_max;
#pragma unroll
  for (const float lse : partials.lse)
    max = fmaxf(max, lse);
  float weights[Loads];
  float sum = 0;
#pragma unroll
  for (int i = 0; i < Loads; ++i)
    sum += weights[i] = ptx::exp2(partials.lse[i] - max);
  const float factor = place.finish(max, sum);
#pragma unroll
  for (int j = 0; j < Units; ++j) {
    Accumulator total;
#pragma unroll
    for (int i = 0; i < Loads; ++i)
      total.add<T>(weights[i], partials.units[j][i]);
    place.write<T>(j * partials.unit_distance, total.out, factor);
  }
}

// The values of all lanes, a power of two, combined.
template <class Combine>
FLASHMLA_DEVICE float over_lanes(const float (&values)[most_lanes], int lanes, Combine combine) {
  float value = values[static_cast<int>(threadIdx.x) & (lanes - 1)];
#pragma unroll 1
  for (int distance = 1; distance < lanes; distance *= 2)
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

// Steps of many: 2^lane_bits threads, two or more, share a unit; all units of a step are of one
// row. The lanes agree on the maximum first, so that what they have can be added up as it is.
template <class T>
FLASHMLA_DEVICE void combine_many(const Params& p, const Entry& entry, std::int32_t step,
                                  int lane_bits, SharedStorage& shared) {
  constexpr int loads = schedule::combine_loads;
  constexpr int thread_bits = 7;
  static_assert(threads == 1 << thread_bits);
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  const int unit_bits = thread_bits - lane_bits;  // of the units of the step
  const std::int32_t lanes = 1 << lane_bits;
  const std::int32_t lane = thread >> unit_bits;
  const std::int32_t unit = thread & ((1 << unit_bits) - 1);  // of the step
  const std::int32_t first_unit = step << unit_bits;          // of the request
  const std::int32_t row = first_unit / units_per_row;
  const std::int32_t first_column = first_unit % units_per_row * unit_columns;
  Partials<1, loads> partials;
  partials.load(p, entry, lane, lanes, row, first_column + unit * unit_columns);
  // Half a unit a thread, in the end.
  const std::int32_t halves = 2 << unit_bits;
  const ResultPlace place(p, entry, row, first_column + thread * half_unit);
  float max = ops::lowest_max;
#pragma unroll
  for (const float lse : partials.lse)
    max = fmaxf(max, lse);
  if (unit == 0)
    shared.max[lane] = max;
  __syncthreads();
  max = over_lanes(shared.max, lanes, [](float a, float b) { return fmaxf(a, b); });
  Accumulator total;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < loads; ++i) {
    const float weight = ptx::exp2(partials.lse[i] - max);
    sum += weight;
    total.add<T>(weight, partials.units[0][i]);
  }
  if (unit == 0)
    shared.sum[lane] = sum;
  float4* const mine = shared.out[thread];
  mine[0] = {total.out[0], total.out[1], total.out[2], total.out[3]};
  mine[1] = {total.out[4], total.out[5], total.out[6], total.out[7]};
  __syncthreads();
  sum = over_lanes(shared.sum, lanes, [](float a, float b) { return a + b; });
  if (row >= p.kv_heads * p.rows || thread >= halves)
    return;
  const float factor = place.finish(max, sum);
  const float4* from = shared.out[0] + thread;
  float4 out{};
#pragma unroll 1
  for (int pair = 0; pair < lanes; pair += 2, from += 2 * halves) {
    const float4 a = from[0];
    const float4 b = from[halves];
    out = {out.x + (a.x + b.x), out.y + (a.y + b.y), out.z + (a.z + b.z), out.w + (a.w + b.w)};
  }
  place.write_half<T>(out, factor);
}

// Every 8 rows of a request take combine_steps() steps; step s is one of the request whose entry
// has steps_before ≤ s / groups, the next one's being above. A thread looks at two entries; the one
// that sees the step's shows it to all.
//
// NOTE: 32 bits are enough, for the more rows there are the fewer workers share a request. The list
// is older than the kernel before this one, and may be read before that has ended.
template <class T>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor)
    combine_splits(const __grid_constant__ Params p) {
  __shared__ SharedStorage shared;
  ptx::launch_dependents();
  const std::int32_t workers = p.split.workers;
  for (auto step = static_cast<std::int32_t>(blockIdx.x);;
       step += static_cast<std::int32_t>(gridDim.x)) {
    const std::int32_t group = p.by_combine_groups.quotient(step);
    const std::int32_t groups = p.split_list[workers].steps_before;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const auto index = schedule::smaller<std::int32_t>(
          static_cast<std::int32_t>(threadIdx.x) + i * threads, workers - 1);
      const Entry entry = p.split_list[index];
      const std::int32_t end = p.split_list[index + 1].steps_before;
      if (entry.steps_before <= group && group < end)
        shared.step = {entry, end - entry.steps_before};
    }
    if (group >= groups)
      break;
    __syncthreads();
    const auto [entry, steps] = shared.step;
    const std::int32_t own = step - entry.steps_before * p.combine_groups;
    if (steps == 1)
      combine_few<T, 4, 2>(p, entry, own);
    else if (steps == 2)
      combine_few<T, 2, 4>(p, entry, own);
    else if (steps == 4)
      combine_few<T, 1, schedule::combine_loads>(p, entry, own);
    else  // of steps = 4 · lanes
      combine_many<T>(p, entry, own, 29 - __clz(steps), shared);
    __syncthreads();
  }
  // NOTE: no block leaves before: the kernel after this one waits for this one alone.
  ptx::wait_for_prerequisites();
}

// Batch-invariant mode, in which cuts do not follow the workers: every request is looked at. The
// order of additions depends on the request's own number of partial results alone.
template <class T>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor)
    combine_pieces(const __grid_constant__ Params p) {
  __shared__ SharedStorage shared;
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  const std::int64_t each = piece_steps(p.kv_heads * p.rows);
  for (std::int64_t i = blockIdx.x; i < each * p.split.requests; i += gridDim.x) {
    const auto request = static_cast<std::int32_t>(i / each);
    const std::int32_t first = p.split_offset[request];
    const Entry entry{request, first, p.split_offset[request + 1] - first, 0};
    if (entry.splits >= 2)
      combine_many<T>(p, entry, static_cast<std::int32_t>(i % each), piece_lane_bits, shared);
    __syncthreads();
  }
}

}  // namespace flashmla::sm90::combine
