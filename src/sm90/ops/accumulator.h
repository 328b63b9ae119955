// The elements that a thread holds of an accumulator of the tensor cores: 64 rows × N columns of
// fp32. tile/fragment.h says which elements these are, and what own rows and own columns are.
#pragma once

#include <cstdint>

#include "sm90/ptx/load_store.h"
#include "sm90/ptx/wgmma.h"
#include "sm90/tile/fragment.h"

namespace flashmla::sm90::ops {

template <int N>
struct Accumulator {
  static constexpr int own_rows = 2;
  static constexpr int own_columns = N / 4;

  float value[N / 2];  // in the order of wgmma

  FLASHMLA_DEVICE float& at(int r, int i) { return value[tile::accumulator_register(r, i)]; }
  FLASHMLA_DEVICE float at(int r, int i) const { return value[tile::accumulator_register(r, i)]; }

  FLASHMLA_DEVICE void clear() {
#pragma unroll
    for (float& element : value)
      element = 0;
  }
  FLASHMLA_DEVICE void negate() {
#pragma unroll
    for (float& element : value)
      element = -element;
  }

  // Prevents the compiler from moving accesses over this point.
  FLASHMLA_DEVICE void pin() { ptx::pin(value); }

  // Columns 16k … 16k + 15 as an operand A, rounded to 16 bits and packed.
  template <class T>
  FLASHMLA_DEVICE void pack(int k, std::uint32_t (&operand)[4]) const {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int r = tile::own_row_of_operand(j);
      const int i = 4 * k + 2 * tile::pair_of_operand(j);
      operand[j] = ptx::pack<T>(at(r, i), at(r, i + 1));
    }
  }

  // Multiplies the own rows by their factors.
  FLASHMLA_DEVICE void rescale(const float (&factor)[own_rows]) {
#pragma unroll
    for (int k = 0; k < N / 2; ++k)
      value[k] *= factor[tile::own_row_of(k)];
  }
  FLASHMLA_DEVICE void rescale_column(int i, float factor) {
    at(0, i) *= factor;
    at(1, i) *= factor;
  }
};

}  // namespace flashmla::sm90::ops
