// A step of combining where a row has at most 9 partial results, which one thread reads.
#pragma once

#include <cstdint>

#include "sm90/kernels/combine/partials.h"

namespace flashmla::sm90::combine {

// A step with at most `Loads` partial results. A thread has `Units` units of one row and computes
// the weights of the row once for all of them.
template <class T, int Units, int Loads, class Output>
FLASHMLA_DEVICE void combine_few(const Params<Output>& p, const Entry& entry, std::int32_t step) {
  constexpr int row_threads = units_per_row / Units;
  constexpr int half_threads = row_threads / halves;
  const std::uint32_t thread = threadIdx.x;
  const std::int32_t row =
      step * (threads / row_threads) + static_cast<std::int32_t>(thread / row_threads);
  const std::uint32_t column =
      thread % row_threads / half_threads * half_columns + thread % half_threads * unit_columns;
  Partials<T, Units, Loads> partials;
  partials.load(p, entry, 0, 1, row, column);
  const ResultPlace place(p, entry, row, column);
  if (!is_row(p, row))
    return;
  const float max = partials.max_lse();
  float weights[Loads];
  float sum = 0;
#pragma unroll
  for (int i = 0; i < Loads; ++i)
    sum += weights[i] = ptx::exp2(partials.lse[i] - max);
  const float factor = place.finish(max, sum);
#pragma unroll
  for (int i = 0; i < Loads; ++i)
    weights[i] *= partials.scale[i];
#pragma unroll
  for (int j = 0; j < Units; ++j) {
    Accumulator total;
#pragma unroll
    for (int i = 0; i < Loads; ++i)
      total.add<T>(weights[i], partials.units[j][i]);
    place.template write<T>(j * partials.unit_distance, total.out, factor);
  }
}

}  // namespace flashmla::sm90::combine
