// A step of combining where a row has more partial results than one thread reads: 2, 4, 8 or 16
// lanes share each unit. All units of a step are of one row.
#pragma once

#include <cstdint>

#include "sm90/kernels/combine/partials.h"

namespace flashmla::sm90::combine {

inline constexpr int thread_bits = 7;
inline constexpr int warps = 4;
static_assert(threads == 1 << thread_bits && threads == warps * 32);
static_assert(schedule::max_combine_lanes == 16 && unit_columns == 8, "what fold() is called for");

// The sums of the lanes. A slice has all columns of the step. Each lane has a slice; where several
// lanes are in one warp, the warp has a slice.
struct LaneSums {
  float2 of_warp[warps];  // maximum of the lse, and Σ 2^(lse − maximum) over the warp's lanes
  alignas(16) float out[threads * unit_columns];  // Σ 2^(lse − maximum) out, as [slice][column]
};

// Adds up the `values` of a thread and those of the thread `distance` lanes away. Each of the two
// keeps `Kept` of the sums as its first values. The upper thread keeps the upper ones.
template <int Kept>
FLASHMLA_DEVICE void fold(float (&values)[unit_columns], int distance) {
  const bool upper = (threadIdx.x & distance) != 0;
#pragma unroll
  for (int i = 0; i < Kept; ++i) {
    const float given = upper ? values[i] : values[i + Kept];
    const float kept = upper ? values[i + Kept] : values[i];
    values[i] = kept + __shfl_xor_sync(0xffffffffu, given, distance);
  }
}

// Writes the sums of the lanes to shared memory. Weights are relative to the maximum of the warp,
// so that no warp waits for another one.
template <class T>
FLASHMLA_DEVICE void add_up(const Partials<T, 1, schedule::combine_loads>& partials, int lane_bits,
                            LaneSums& sums) {
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  const int unit_bits = thread_bits - lane_bits;
  const std::int32_t unit = thread & ((1 << unit_bits) - 1);
  const float max = ops::max_in_warp(partials.max_lse());
  Accumulator total;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < schedule::combine_loads; ++i) {
    const float weight = ptx::exp2(partials.lse[i] - max);
    sum += weight;
    total.add<T>(weight * partials.scale[i], partials.units[0][i]);
  }
  const auto& out = total.out;
  if (lane_bits <= 2) {  // a warp has one lane or half a lane of the unit
    auto* const slice = reinterpret_cast<float4*>(sums.out + thread * unit_columns);
    slice[0] = {out[0], out[1], out[2], out[3]};
    slice[1] = {out[4], out[5], out[6], out[7]};
  } else {
    float* slice = sums.out + ((thread / 32 << unit_bits) + unit) * unit_columns;
    fold<4>(total.out, 16);
    sum += __shfl_xor_sync(0xffffffffu, sum, 16);
    slice += thread / 16 % 2 * 4;
    if (lane_bits == 3) {
      *reinterpret_cast<float4*>(slice) = {out[0], out[1], out[2], out[3]};
    } else {
      fold<2>(total.out, 8);
      sum += __shfl_xor_sync(0xffffffffu, sum, 8);
      *reinterpret_cast<float2*>(slice + thread / 8 % 2 * 2) = {out[0], out[1]};
    }
  }
  if (thread % 32 == 0)
    sums.of_warp[thread / 32] = {max, sum};
}

template <class T, class Output>
FLASHMLA_DEVICE void combine_many(const Params<Output>& p, const Entry& entry, std::int32_t step,
                                  int lane_bits, LaneSums& sums) {
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  const int unit_bits = thread_bits - lane_bits;
  const std::int32_t lane = thread >> unit_bits;
  const std::int32_t unit = thread & ((1 << unit_bits) - 1);                       // of the step
  const std::uint32_t first_unit = static_cast<std::uint32_t>(step) << unit_bits;  // of the request
  const auto row = static_cast<std::int32_t>(first_unit / units_per_row);
  const std::uint32_t first_column = first_unit % units_per_row * unit_columns;
  Partials<T, 1, schedule::combine_loads> partials;
  partials.load(p, entry, lane, 1 << lane_bits, row, first_column + unit * unit_columns);
  // At the end a thread has half a unit.
  const ResultPlace place(p, entry, row, first_column + thread * half_unit);
  add_up<T>(partials, lane_bits, sums);
  __syncthreads();
  const std::int32_t columns = unit_columns << unit_bits;
  if (!is_row(p, row) || thread * half_unit >= columns)
    return;
  float2 of_warp[warps];
#pragma unroll
  for (int i = 0; i < warps; ++i)
    of_warp[i] = sums.of_warp[i];
  const float max = fmaxf(fmaxf(of_warp[0].x, of_warp[1].x), fmaxf(of_warp[2].x, of_warp[3].x));
  const bool two_lanes = lane_bits == 1;  // two warps make one slice, with the same weights
  float sum = 0;
  float4 out{};
#pragma unroll
  for (int i = 0; i < warps; ++i) {
    if (two_lanes && i % 2 == 1)
      continue;
    const float weight = ptx::exp2(of_warp[i].x - max);
    const int slice = two_lanes ? i / 2 : i;
    const float4 a =
        *reinterpret_cast<const float4*>(sums.out + slice * columns + thread * half_unit);
    sum += weight * of_warp[i].y;
    out = {out.x + weight * a.x, out.y + weight * a.y, out.z + weight * a.z, out.w + weight * a.w};
  }
  place.template write_half<T>(out, place.finish(max, sum));
}

}  // namespace flashmla::sm90::combine
