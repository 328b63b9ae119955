// Combines the partial results of split requests by log-sum-exp:
//   lse = log2 Σ_p 2^lse_p,  out = Σ_p 2^(lse_p − lse) out_p
// and applies the sink. Work is dealt in steps of 128 threads × 8 columns; requests with many
// partial results share a position among several lanes. Requests that are not split cost nothing.
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
static_assert(most_workers == 2 * threads, "a thread holds two entries");
inline constexpr int unit_columns = 8;
inline constexpr int units_per_row = v_dim / unit_columns;

using Entry = schedule::SplitRequest;

struct SharedStorage {
  Entry entry;
  float exchange[threads][unit_columns + 2];
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
};

// All of a thread's loads are in flight at once, and none is made for a partial result that is not
// there.
template <class T, int Lanes, int Loads>
FLASHMLA_DEVICE void add_partials(const Params& p, const Entry& entry, std::int64_t row, int column,
                                  int lane, Accumulator& total) {
  const std::int64_t rows = static_cast<std::int64_t>(p.kv_heads) * p.rows;
#pragma unroll 1
  for (int begin = lane; begin < entry.splits; begin += Lanes * Loads) {
    uint4 units[Loads];
    float lse[Loads];
#pragma unroll
    for (int i = 0; i < Loads; ++i) {
      const int split = begin + i * Lanes;
      const std::int64_t at = (entry.first_partial + split) * rows + row;
      units[i] = {};
      lse[i] = ops::minus_infinity;
      if (split < entry.splits) {
        units[i] = __ldcg(reinterpret_cast<const uint4*>(p.partial_out + at * v_dim + column));
        lse[i] = __ldcg(p.partial_lse + at);
      }
    }
    float max = total.max;
#pragma unroll
    for (int i = 0; i < Loads; ++i)
      max = fmaxf(max, lse[i]);
    total.refer_to(max);
#pragma unroll
    for (int i = 0; i < Loads; ++i) {
      const float weight = ptx::exp2(lse[i] - max);
      total.sum += weight;
      const std::uint32_t words[4] = {units[i].x, units[i].y, units[i].z, units[i].w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 values = ptx::unpack<T>(words[j]);
        total.out[2 * j] += weight * values.x;
        total.out[2 * j + 1] += weight * values.y;
      }
    }
  }
}

// Adds up what the lanes of a position have; lane 0 gets the total.
template <int Lanes>
FLASHMLA_DEVICE void add_lanes(SharedStorage& shared, Accumulator& total) {
  constexpr int positions = threads / Lanes;
  float* const mine = shared.exchange[threadIdx.x];
#pragma unroll
  for (int i = 0; i < unit_columns; ++i)
    mine[i] = total.out[i];
  mine[unit_columns] = total.max;
  mine[unit_columns + 1] = total.sum;
  __syncthreads();
  if (threadIdx.x < positions) {
#pragma unroll
    for (int lane = 1; lane < Lanes; ++lane) {
      const float* const other = shared.exchange[threadIdx.x + lane * positions];
      const float max = fmaxf(total.max, other[unit_columns]);
      total.refer_to(max);
      const float factor = ptx::exp2(other[unit_columns] - max);
      total.sum += factor * other[unit_columns + 1];
#pragma unroll
      for (int i = 0; i < unit_columns; ++i)
        total.out[i] += factor * other[i];
    }
  }
  __syncthreads();
}

template <class T>
FLASHMLA_DEVICE void write(const Params& p, const Entry& entry, std::int64_t row, int column,
                           const Accumulator& total) {
  constexpr float log2_e = 1.4426950408889634f;
  constexpr float ln_2 = 0.6931471805599453f;
  const auto kv_head = static_cast<std::int32_t>(row / p.rows);
  const RowPlace at = RowPlace::of(p, kv_head, static_cast<std::int32_t>(row - kv_head * p.rows));
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

// Step `step` of a request: threads / Lanes positions of 8 columns.
template <class T, int Lanes, int Loads>
FLASHMLA_DEVICE void combine_step(const Params& p, const Entry& entry, std::int64_t step,
                                  SharedStorage& shared) {
  constexpr int positions = threads / Lanes;
  const std::int64_t position = step * positions + threadIdx.x % positions;
  const std::int64_t row = position / units_per_row;
  const int column = static_cast<int>(position % units_per_row) * unit_columns;
  const bool there = row < static_cast<std::int64_t>(p.kv_heads) * p.rows;
  Accumulator total;
  if (there)
    add_partials<T, Lanes, Loads>(p, entry, row, column, threadIdx.x / positions, total);
  if constexpr (Lanes > 1)
    add_lanes<Lanes>(shared, total);
  if (there && threadIdx.x < positions)
    write<T>(p, entry, row, column, total);
}

template <class T>
FLASHMLA_DEVICE void combine_step_of(const Params& p, const Entry& entry, std::int64_t step,
                                     SharedStorage& shared) {
  switch (schedule::combine_lanes(entry.splits)) {
    case 8:
      return combine_step<T, 8, 8>(p, entry, step, shared);
    case 4:
      return combine_step<T, 4, 6>(p, entry, step, shared);
    default:
      return combine_step<T, 1, 8>(p, entry, step, shared);
  }
}

// A request takes `each` steps for every lane, so that step s is one of the request whose entry has
// lanes_before ≤ s / each. A thread holds two entries; the one with the step's entry shows it to
// all.
template <class T>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor)
    combine_splits(const __grid_constant__ Params p) {
  __shared__ SharedStorage shared;
  ptx::launch_dependents();
  const std::int32_t each = (p.kv_heads * p.rows + 1) / 2;
  const std::int32_t workers = p.split.workers;
  const Entry low = p.split_list[schedule::smaller<std::int32_t>(threadIdx.x, workers)];
  const Entry high = p.split_list[schedule::smaller<std::int32_t>(threadIdx.x + threads, workers)];
  const std::int32_t lanes = p.split_list[workers].lanes_before;
  ptx::wait_for_prerequisites();
  for (std::int64_t step = blockIdx.x; step < static_cast<std::int64_t>(lanes) * each;
       step += gridDim.x) {
    const auto lane = static_cast<std::int32_t>(step / each);
    for (const Entry& entry : {low, high})
      if (entry.lanes_before <= lane &&
          lane < entry.lanes_before + schedule::combine_lanes(entry.splits))
        shared.entry = entry;
    __syncthreads();
    const Entry entry = shared.entry;
    __syncthreads();
    combine_step_of<T>(p, entry, step - static_cast<std::int64_t>(entry.lanes_before) * each,
                       shared);
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
  constexpr int positions = threads / 4;
  const std::int64_t units = static_cast<std::int64_t>(p.kv_heads) * p.rows * units_per_row;
  const std::int64_t each = (units + positions - 1) / positions;
  for (std::int64_t i = blockIdx.x; i < each * p.split.requests; i += gridDim.x) {
    const auto request = static_cast<std::int32_t>(i / each);
    const std::int32_t first = p.split_offset[request];
    const Entry entry{request, first, p.split_offset[request + 1] - first, 0};
    if (entry.splits >= 2)
      combine_step<T, 4, 8>(p, entry, i % each, shared);
  }
}

}  // namespace flashmla::sm90::combine
