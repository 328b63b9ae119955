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

#include "sm90/kernels/dense_decode/place.h"
#include "sm90/ops/mask.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/ops/store_rows.h"
#include "sm90/ptx/grid_dependency.h"

namespace flashmla::sm90::combine {

using dense_decode::Params;
using dense_decode::RowPlace;
using dense_decode::v_dim;

inline constexpr int threads = 128;
inline constexpr int blocks_of_multiprocessor = 7;
inline constexpr int most_workers = schedule::most_combined_workers;
static_assert(most_workers == 2 * threads, "a thread looks at two entries");
inline constexpr int unit_columns = 8;
inline constexpr int units_per_row = v_dim / unit_columns;

using Entry = schedule::SplitRequest;

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
  float exchange[threads][unit_columns + 2];
};

// `Units` of several partial results of one row, all on their way at once.
template <int Units, int Loads>
struct Partials {
  // Columns between the units of a thread.
  static constexpr int unit_distance = v_dim / Units;

  uint4 units[Units][Loads];
  float lse[Loads];

  // Every `stride`-th of an entry's from `first` on; −inf for those that are not there, or where
  // the row is not.
  FLASHMLA_DEVICE void load(const Params& p, const Entry& entry, std::int32_t first,
                            std::int32_t stride, std::int32_t rows, std::int32_t row,
                            std::int32_t column) {
    const std::int64_t at = std::int64_t{entry.first_partial + first} * rows + row;
    const std::int64_t distance = std::int64_t{stride} * rows;
    const std::uint16_t* out = p.partial_out + at * v_dim + column;
    const float* lse_at = p.partial_lse + at;
#pragma unroll
    for (int i = 0; i < Loads; ++i) {
      const bool wanted = first + i * stride < entry.splits && row < rows;
      lse[i] = ptx::load_if(wanted, lse_at, ops::minus_infinity);
#pragma unroll
      for (int j = 0; j < Units; ++j)
        units[j][i] = ptx::load_unit_if(wanted, out + j * unit_distance);
      out += distance * v_dim;
      lse_at += distance;
    }
    __syncwarp();  // the compiler would ask for the last ones when it has used the first
  }
};

// Σ weight · partial result of a unit, in fp32, and what it refers to.
struct Accumulator {
  float out[unit_columns] = {};
  float max = ops::lowest_max;
  float sum = 0;

  FLASHMLA_DEVICE void refer_to(float to) {
    const float factor = ptx::exp2(max - to);
    max = to;
    sum *= factor;
#pragma unroll
    for (float& value : out)
      value *= factor;
  }

  template <class T>
  FLASHMLA_DEVICE void add(float weight, const uint4& unit) {
    const std::uint32_t words[4] = {unit.x, unit.y, unit.z, unit.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float2 values = ptx::unpack<T>(words[j]);
      out[2 * j] += weight * values.x;
      out[2 * j + 1] += weight * values.y;
    }
  }
};

// Where a row goes, and what its sums are multiplied by.
struct ResultRow {
  std::uint16_t* target;
  bool aligned;
  float factor;

  // `max`, `sum`: of all partial results. The thread that has the row's first column writes the
  // lse.
  FLASHMLA_DEVICE ResultRow(const Params& p, const Entry& entry, std::int32_t row,
                            std::int32_t column, float max, float sum) {
    constexpr float log2_e = 1.4426950408889634f;
    constexpr float ln_2 = 0.6931471805599453f;
    const std::int32_t kv_head = p.by_rows.quotient(row);
    const RowPlace at = RowPlace::of(p, kv_head, row - kv_head * p.rows);
    const bool empty = sum == 0;
    const float lse = max + ptx::log2(sum);
    factor = empty ? 0 : ptx::reciprocal(sum);
    if (p.sink != nullptr && !empty)
      factor *= ptx::reciprocal(1 + ptx::exp2(p.sink[at.head] * log2_e - lse));
    if (column == 0)
      *dense_decode::output_lse(p, entry.request, at) = empty ? -ops::minus_infinity : lse * ln_2;
    target = dense_decode::output_row(p, entry.request, at) + column;
    aligned = p.out_aligned;
  }

  template <class T>
  FLASHMLA_DEVICE void write(int first_column, const float (&out)[unit_columns]) const {
    uint4 unit;
    unit.x = ptx::pack<T>(out[0] * factor, out[1] * factor);
    unit.y = ptx::pack<T>(out[2] * factor, out[3] * factor);
    unit.z = ptx::pack<T>(out[4] * factor, out[5] * factor);
    unit.w = ptx::pack<T>(out[6] * factor, out[7] * factor);
    if (aligned)
      ops::store_unit<true>(target + first_column, unit);
    else
      ops::store_unit<false>(target + first_column, unit);
  }
};

// Steps of at most `Loads` partial results: a thread has `Units` units of a row, and weighs them
// once.
template <class T, int Units, int Loads>
FLASHMLA_DEVICE void combine_few(const Params& p, const Entry& entry, std::int32_t step) {
  constexpr int row_threads = units_per_row / Units;
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  const std::int32_t row = step * (threads / row_threads) + thread / row_threads;
  const std::int32_t column = thread % row_threads * unit_columns;
  const std::int32_t rows = p.kv_heads * p.rows;
  Partials<Units, Loads> partials;
  partials.load(p, entry, 0, 1, rows, row, column);
  if (row >= rows)
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
  const ResultRow result(p, entry, row, column, max, sum);
#pragma unroll
  for (int j = 0; j < Units; ++j) {
    Accumulator total;
#pragma unroll
    for (int i = 0; i < Loads; ++i)
      total.add<T>(weights[i], partials.units[j][i]);
    result.write<T>(j * partials.unit_distance, total.out);
  }
}

// Adds up what threads that are `stride` apart have of a unit; the first one gets the total.
FLASHMLA_DEVICE void add_lanes(SharedStorage& shared, int stride, Accumulator& total) {
  float* const mine = shared.exchange[threadIdx.x];
#pragma unroll
  for (int i = 0; i < unit_columns; ++i)
    mine[i] = total.out[i];
  mine[unit_columns] = total.max;
  mine[unit_columns + 1] = total.sum;
  __syncthreads();
  if (threadIdx.x < stride)
#pragma unroll 1
    for (int thread = threadIdx.x + stride; thread < threads; thread += stride) {
      const float* const other = shared.exchange[thread];
      total.refer_to(fmaxf(total.max, other[unit_columns]));
      const float factor = ptx::exp2(other[unit_columns] - total.max);
      total.sum += factor * other[unit_columns + 1];
#pragma unroll
      for (int i = 0; i < unit_columns; ++i)
        total.out[i] += factor * other[i];
    }
}

// Steps of many: 2^lane_bits threads share a unit.
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
  const std::int32_t unit = (step << unit_bits) + (thread & ((1 << unit_bits) - 1));
  const std::int32_t rows = p.kv_heads * p.rows;
  const std::int32_t row = unit / units_per_row;
  const std::int32_t column = unit % units_per_row * unit_columns;
  Accumulator total;
#pragma unroll 1
  for (std::int32_t first = 0; first < entry.splits; first += lanes * loads) {
    Partials<1, loads> partials;
    partials.load(p, entry, first + lane, lanes, rows, row, column);
    float highest = total.max;
#pragma unroll
    for (const float lse : partials.lse)
      highest = fmaxf(highest, lse);
    total.refer_to(highest);
#pragma unroll
    for (int i = 0; i < loads; ++i) {
      const float weight = ptx::exp2(partials.lse[i] - highest);
      total.sum += weight;
      total.add<T>(weight, partials.units[0][i]);
    }
  }
  if (lanes > 1)
    add_lanes(shared, 1 << unit_bits, total);
  if (row < rows && lane == 0)
    ResultRow(p, entry, row, column, total.max, total.sum).write<T>(0, total.out);
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
    ptx::wait_for_prerequisites();
    if (group >= groups)
      return;
    __syncthreads();
    const auto [entry, steps] = shared.step;
    const std::int32_t own = step - entry.steps_before * p.combine_groups;
    if (steps == 1)
      combine_few<T, 4, 2>(p, entry, own);
    else if (steps == 2)
      combine_few<T, 2, 4>(p, entry, own);
    else  // of steps = 4 · lanes
      combine_many<T>(p, entry, own, 29 - __clz(steps), shared);
    __syncthreads();
  }
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
