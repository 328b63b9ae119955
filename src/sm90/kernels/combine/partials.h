// Loading partial results, and adding them up.
#pragma once

#include <cstdint>

#include "sm90/kernels/combine/result_place.h"
#include "sm90/ptx/grid_dependency.h"
#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::combine {

using dense_decode::v_dim;
inline constexpr int threads = 128;
inline constexpr int units_per_row = v_dim / unit_columns;

// `Units` of several partial results of one row, all on their way at once.
template <int Units, int Loads>
struct Partials {
  // Columns between the units of a thread.
  static constexpr int unit_distance = v_dim / Units;

  uint4 units[Units][Loads];
  float lse[Loads];

  // Every `stride`-th of an entry's from `first` on; −inf for those that are not there, or where
  // the row is not. Waits for the kernel that makes them.
  FLASHMLA_DEVICE void load(const Params& p, const Entry& entry, std::int32_t first,
                            std::int32_t stride, std::int32_t row, std::int32_t column) {
    const std::int32_t rows = p.kv_heads * p.rows;
    const std::int64_t at = std::int64_t{entry.first_partial + first} * rows + row;
    const std::int64_t distance = std::int64_t{stride} * rows;
    const std::uint16_t* out = p.partial_out + at * v_dim + column;
    const float* lse_at = p.partial_lse + at;
    ptx::wait_for_prerequisites();
    const auto wanted = [&](int i) { return first + i * stride < entry.splits && row < rows; };
#pragma unroll
    for (int i = 0; i < Loads; ++i)  // these first: weights are worked out while the rest comes
      lse[i] = ptx::load_if(wanted(i), lse_at + i * distance, ops::minus_infinity);
#pragma unroll
    for (int i = 0; i < Loads; ++i, out += distance * v_dim)
#pragma unroll
      for (int j = 0; j < Units; ++j)
        units[j][i] = ptx::load_unit_if(wanted(i), out + j * unit_distance);
    __syncwarp();  // the compiler would ask for the last ones when it has used the first
  }

  FLASHMLA_DEVICE float max_lse() const {
    float max = ops::lowest_max;
#pragma unroll
    for (const float value : lse)
      max = fmaxf(max, value);
    return max;
  }
};

// Σ weight · partial result of a unit, in fp32.
struct Accumulator {
  float out[unit_columns] = {};

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

}  // namespace flashmla::sm90::combine
