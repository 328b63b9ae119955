// Combines the partial results of split requests by log-sum-exp:
//   lse = log2 Σ_p 2^lse_p,  out = Σ_p 2^(lse_p − lse) out_p
// and applies the sink. Work is dealt in steps of 128 threads, each of which has about 8 loads of 8
// columns (a position) in flight at once: for several positions where there are few partial
// results, for a part of one, shared among lanes, where there are many. Requests that are not split
// cost nothing.
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

// Batch-invariant mode: threads that share a position, and the steps of a request.
inline constexpr int piece_lanes = 4;
FLASHMLA_HOST_DEVICE constexpr std::int64_t piece_steps(std::int64_t rows) {
  constexpr int positions = threads / piece_lanes;
  return (rows * units_per_row + positions - 1) / positions;
}

struct SharedStorage {
  Entry entry;  // of the step
  float exchange[threads][unit_columns + 2];
};

// A unit of several partial results of one row, all on their way at once.
template <int Loads>
struct Partials {
  uint4 units[Loads];
  float lse[Loads];

  // Every `stride`-th of an entry's from `first` on. None is asked for that is not there, nor for
  // a row past the last one.
  FLASHMLA_DEVICE void load(const Params& p, const Entry& entry, std::int32_t first,
                            std::int32_t stride, std::int32_t rows, std::int32_t row,
                            std::int32_t column) {
#pragma unroll
    for (int i = 0; i < Loads; ++i) {
      const std::int32_t split = first + i * stride;
      const std::int64_t at = std::int64_t{entry.first_partial + split} * rows + row;
      units[i] = {};
      lse[i] = ops::minus_infinity;
      if (split < entry.splits && row < rows) {
        units[i] = __ldcg(reinterpret_cast<const uint4*>(p.partial_out + at * v_dim + column));
        lse[i] = __ldcg(p.partial_lse + at);
      }
    }
  }
};

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

  template <class T, int Loads>
  FLASHMLA_DEVICE void add(const Partials<Loads>& partials) {
    float highest = max;
#pragma unroll
    for (const float lse : partials.lse)
      highest = fmaxf(highest, lse);
    refer_to(highest);
#pragma unroll
    for (int i = 0; i < Loads; ++i) {
      const float weight = ptx::exp2(partials.lse[i] - highest);
      sum += weight;
      const uint4& unit = partials.units[i];
      const std::uint32_t words[4] = {unit.x, unit.y, unit.z, unit.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 values = ptx::unpack<T>(words[j]);
        out[2 * j] += weight * values.x;
        out[2 * j + 1] += weight * values.y;
      }
    }
  }
};

// Adds up what threads that are `stride` apart have of a position; the first one gets the total.
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
  __syncthreads();
}

template <class T>
FLASHMLA_DEVICE void write(const Params& p, const Entry& entry, std::int32_t row,
                           std::int32_t column, const Accumulator& total) {
  constexpr float log2_e = 1.4426950408889634f;
  constexpr float ln_2 = 0.6931471805599453f;
  const std::int32_t kv_head = p.kv_heads == 1 ? 0 : row / p.rows;
  const RowPlace at = RowPlace::of(p, kv_head, row - kv_head * p.rows);
  const bool empty = total.sum == 0;
  const float lse = total.max + ptx::log2(total.sum);
  float factor = empty ? 0 : ptx::reciprocal(total.sum);
  if (p.sink != nullptr && !empty)
    factor *= ptx::reciprocal(1 + ptx::exp2(p.sink[at.head] * log2_e - lse));
  uint4 unit;
  unit.x = ptx::pack<T>(total.out[0] * factor, total.out[1] * factor);
  unit.y = ptx::pack<T>(total.out[2] * factor, total.out[3] * factor);
  unit.z = ptx::pack<T>(total.out[4] * factor, total.out[5] * factor);
  unit.w = ptx::pack<T>(total.out[6] * factor, total.out[7] * factor);
  std::uint16_t* const target = p.out + entry.request * p.out_strides.outer +
                                at.token * p.out_strides.middle + at.head * p.out_strides.head +
                                column;
  if (p.out_aligned)
    ops::store_unit<true>(target, unit);
  else
    ops::store_unit<false>(target, unit);
  if (column == 0)
    p.lse[(static_cast<std::int64_t>(entry.request) * p.query_heads + at.head) * p.query_tokens +
          at.token] = empty ? -ops::minus_infinity : lse * ln_2;
}

// Steps of few partial results: a thread has several positions.
template <class T, int Positions, int Loads>
FLASHMLA_DEVICE void combine_positions(const Params& p, const Entry& entry, std::int32_t step) {
  const std::int32_t first = step * (threads * Positions) + static_cast<std::int32_t>(threadIdx.x);
  const std::int32_t rows = p.kv_heads * p.rows;
  const std::int32_t column = first % units_per_row * unit_columns;
  static_assert(threads % units_per_row == 0, "the column is the same at all positions");
  const auto row = [&](int j) { return (first + j * threads) / units_per_row; };
  Partials<Loads> partials[Positions];
#pragma unroll
  for (int j = 0; j < Positions; ++j)
    partials[j].load(p, entry, 0, 1, rows, row(j), column);
#pragma unroll
  for (int j = 0; j < Positions; ++j) {
    Accumulator total;
    total.add<T>(partials[j]);
    if (row(j) < rows)
      write<T>(p, entry, row(j), column, total);
  }
}

// Steps of many: `lanes` threads, a power of two, share a position.
template <class T>
FLASHMLA_DEVICE void combine_lanes(const Params& p, const Entry& entry, std::int32_t step,
                                   std::int32_t lanes, SharedStorage& shared) {
  const std::int32_t positions = threads / lanes;  // of the step
  const std::int32_t lane = static_cast<std::int32_t>(threadIdx.x) / positions;
  const std::int32_t position =
      step * positions + static_cast<std::int32_t>(threadIdx.x) - lane * positions;
  const std::int32_t rows = p.kv_heads * p.rows;
  const std::int32_t row = position / units_per_row;
  const std::int32_t column = position % units_per_row * unit_columns;
  Accumulator total;
#pragma unroll 1
  for (std::int32_t i = lane; i < entry.splits; i += lanes * schedule::combine_loads) {
    Partials<schedule::combine_loads> partials;
    partials.load(p, entry, i, lanes, rows, row, column);
    total.add<T>(partials);
  }
  if (lanes > 1)
    add_lanes(shared, positions, total);
  if (row < rows && lane == 0)
    write<T>(p, entry, row, column, total);
}

template <class T>
FLASHMLA_DEVICE void combine_step(const Params& p, const Entry& entry, std::int32_t step,
                                  SharedStorage& shared) {
  const std::int32_t steps = schedule::combine_steps(entry.splits);
  if (steps == 1)
    combine_positions<T, 4, 2>(p, entry, step);
  else if (steps == 2)
    combine_positions<T, 2, 4>(p, entry, step);
  else
    combine_lanes<T>(p, entry, step, steps / 4, shared);
}

// Every 8 rows of a request take combine_steps() steps; step s is one of the request whose entry
// has steps_before ≤ s / each. A thread looks at two entries; the one that sees the step's shows it
// to all.
//
// NOTE: 32 bits are enough, for the more rows there are the fewer workers share a request.
template <class T>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor)
    combine_splits(const __grid_constant__ Params p) {
  __shared__ SharedStorage shared;
  ptx::launch_dependents();
  const std::int32_t each = dense_decode::divide_up(p.kv_heads * p.rows, schedule::combine_rows);
  const std::int32_t workers = p.split.workers;
  const std::int32_t steps = p.split_list[workers].steps_before * each;
  bool waited = false;  // the list is older than the kernel before this one
  for (auto step = static_cast<std::int32_t>(blockIdx.x); step < steps;
       step += static_cast<std::int32_t>(gridDim.x)) {
    const std::int32_t group = step / each;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const Entry entry = p.split_list[schedule::smaller<std::int32_t>(
          static_cast<std::int32_t>(threadIdx.x) + i * threads, workers)];
      if (entry.steps_before <= group &&
          group < entry.steps_before + schedule::combine_steps(entry.splits))
        shared.entry = entry;
    }
    __syncthreads();
    if (!waited)
      ptx::wait_for_prerequisites();
    waited = true;
    combine_step<T>(p, shared.entry, step - shared.entry.steps_before * each, shared);
    __syncthreads();
  }
  if (!waited)  // the kernel after this one counts on all of those before it
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
      combine_lanes<T>(p, entry, static_cast<std::int32_t>(i % each), piece_lanes, shared);
  }
}

}  // namespace flashmla::sm90::combine
