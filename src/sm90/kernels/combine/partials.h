// Loading partial results, and adding them up.
#pragma once

#include <cstdint>

#include "sm90/kernels/combine/result_place.h"
#include "sm90/ptx/grid_dependency.h"
#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::combine {

using attend::PartialNumber;
using attend::PartialRow;
using attend::row_entries;
using attend::v_dim;
inline constexpr int threads = 128;
inline constexpr int units_per_row = v_dim / unit_columns;
// All units of a thread lie in one half of a row.
inline constexpr int halves = 2;
inline constexpr int half_columns = v_dim / halves;

// Whether a row exists. The number of rows is rounded up, and a schedule may hold any numbers.
template <class Output>
FLASHMLA_DEVICE bool is_row(const Params<Output>& p, std::int32_t row) {
  return static_cast<std::uint32_t>(row) <
         static_cast<std::uint32_t>(p.rows.kv_heads * p.rows.count);
}

// unit_columns elements of a partial result, in a call of type T.
template <class T>
struct Unit {
  static constexpr int loads = unit_columns * sizeof(PartialNumber<T>) / sizeof(uint4);
  uint4 words[loads];
};

// `Units` units of several partial results of one row. All loads are in flight together.
template <class T, int Units, int Loads>
struct Partials {
  // Columns between the units of a thread.
  static constexpr int unit_distance = half_columns / Units;

  Unit<T> units[Units][Loads];
  float lse[Loads];
  float scale[Loads];

  // Loads every `stride`-th partial result of an entry, from `first` on. lse is −inf for partial
  // results and rows that do not exist. Waits for the kernel that writes them.
  template <class Output>
  FLASHMLA_DEVICE void load(const Params<Output>& p, const Entry& entry, std::int32_t first,
                            std::int32_t stride, std::int32_t row, std::uint32_t column) {
    const std::int32_t rows = p.rows.kv_heads * p.rows.count;
    const std::int64_t at = std::int64_t{entry.first_partial + first} * rows + row;
    const auto* out = static_cast<const PartialNumber<T>*>(p.partials.out) + at * v_dim + column;
    const PartialRow* row_at =
        p.partials.rows + at * row_entries<T> + column / half_columns * row_entries<T> / halves;
    const std::int64_t distance = std::int64_t{stride} * rows;
    ptx::wait_for_prerequisites();
    const std::int32_t splits = is_row(p, row) ? entry.splits : 0;
    const auto wanted = [&](int i) { return first + i * stride < splits; };
#pragma unroll
    for (int i = 0; i < Loads;
         ++i) {  // these come first: weights are computed while the other loads are in flight
      const float2 loaded = ptx::load_pair_if(wanted(i), row_at + i * distance * row_entries<T>,
                                              float2{ops::minus_infinity, 1});
      lse[i] = loaded.x;
      scale[i] = loaded.y;
    }
#pragma unroll
    for (int i = 0; i < Loads; ++i, out += distance * v_dim)
#pragma unroll
      for (int j = 0; j < Units; ++j)
#pragma unroll
        for (int k = 0; k < Unit<T>::loads; ++k)
          units[j][i].words[k] = ptx::load_unit_if(
              wanted(i), reinterpret_cast<const uint4*>(out + j * unit_distance) + k);
    __syncwarp();  // without this the compiler would issue the last loads behind the first use
  }

  FLASHMLA_DEVICE float max_lse() const {
    float max = ops::lowest_max;
#pragma unroll
    for (const float value : lse)
      max = fmaxf(max, value);
    return max;
  }
};

// Σ weight · partial result, for one unit, in fp32.
struct Accumulator {
  float out[unit_columns] = {};

  // `weight` includes the scale of the row of the partial result.
  template <class T>
  FLASHMLA_DEVICE void add(float weight, const Unit<T>& unit) {
#pragma unroll
    for (int k = 0; k < Unit<T>::loads; ++k) {
      const uint4& four = unit.words[k];
      const std::uint32_t words[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if constexpr (Unit<T>::loads == 1) {
          const float2 values = ptx::unpack<PartialNumber<T>>(words[j]);
          out[2 * j] += weight * values.x;
          out[2 * j + 1] += weight * values.y;
        } else {
          out[4 * k + j] += weight * __uint_as_float(words[j]);
        }
      }
    }
  }
};

}  // namespace flashmla::sm90::combine
