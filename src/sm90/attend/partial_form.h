// How the partial results of split requests are kept in the run workspace: at least 11 significant
// bits and the range of bf16, so that a split request is as accurate as one that is not.
//
// A partial result is the accumulators as they are, Σ P v, and for each row what they are
// multiplied by. In fp16 calls they are fp32. In bf16 calls they are fp16: half the bytes, and an
// SM writes no more than about 16 bytes a clock. Where a row's values are no good as fp16
// (ops/half_range.h), which is rare, a power of two brings them into range.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "flashmla/dtype.h"
#include "schedule/work_row.h"

namespace flashmla::sm90::attend {

// Numbers of partial results in calls of type T. 11 bits would be as coarse as an fp16 output.
template <class T>
using PartialNumber = std::conditional_t<std::is_same_v<T, __nv_bfloat16>, __half, float>;

// Beside the numbers of a row. fp16 numbers have two, one for each half of the columns, since
// different warps bring them into range.
struct PartialRow {
  float lse;    // base 2; −inf: no token
  float scale;  // what the numbers are multiplied by: 1 / Σ P, and a power of two
};
template <class T>
inline constexpr int row_entries = sizeof(PartialNumber<T>) == 2 ? 2 : 1;

// Bytes of a number, and of what is beside the numbers of a row.
struct PartialBytes {
  std::size_t number;
  std::size_t beside;

  template <class T>
  static constexpr PartialBytes of() {
    return {sizeof(PartialNumber<T>), row_entries<T> * sizeof(PartialRow)};
  }
  static constexpr PartialBytes of(DType type) {
    return type == DType::fp16 ? of<__half>() : of<__nv_bfloat16>();
  }
};

// Powers of two by which a row's accumulators become fp16 numbers and back.
struct RowScale {
  float up = 1;    // value · up is what is kept
  float down = 1;  // its reciprocal

  // `magnitudes`: Σ |value| of the row, a bound that is cheaper to find than the largest one. It
  // goes to [2^14, 2^15): no value is too large, and values down to 2^−19 of their mean keep 11
  // bits. Where it is no finite number, the values are kept as they are.
  static FLASHMLA_HOST_DEVICE RowScale of(float magnitudes) {
    constexpr std::uint32_t bias = 127;
    constexpr std::uint32_t top = bias + 14;         // exponent of the sum, as kept
    constexpr std::uint32_t least = top - bias + 1;  // whose power of two still is a normal number
    const std::uint32_t exponent = __builtin_bit_cast(std::uint32_t, magnitudes) >> 23 & 0xff;
    const std::uint32_t from = exponent == 0xff ? top : exponent < least ? least : exponent;
    return {__builtin_bit_cast(float, (top + bias - from) << 23),
            __builtin_bit_cast(float, (from + bias - top) << 23)};
  }
};

}  // namespace flashmla::sm90::attend
