// The form of partial results of split requests in the run workspace. They have at least 11
// significant bits and the range of bf16, so that a split request is as accurate as an unsplit one.
//
// A partial result is the accumulators, Σ P v, and for each row the factor that turns them into a
// result. In fp16 calls the elements are fp32. In bf16 calls they are fp16, which are half the
// bytes: a multiprocessor writes only about 16 bytes in a clock. Where the values of a row do not
// fit fp16 (ops/half_range.h), which is rare, a power of two brings them into its range.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "flashmla/dtype.h"
#include "schedule/partial_bytes.h"
#include "schedule/work_row.h"

namespace flashmla::sm90::attend {

// The type of the elements of partial results in calls of type T. In fp16 calls 11 bits would be as
// coarse as the output.
template <class T>
using PartialNumber = std::conditional_t<std::is_same_v<T, __nv_bfloat16>, __half, float>;

// The data beside the elements of a row. A row of fp16 elements has two of these, one for each half
// of the columns, since different warps bring the halves into range.
struct PartialRow {
  float lse;    // base 2; −inf: no token
  float scale;  // factor of the elements: 1 / Σ P, times a power of two
};
template <class T>
inline constexpr int row_entries = sizeof(PartialNumber<T>) == 2 ? 2 : 1;

// Bytes of an element, and of the data beside the elements of a row.
template <class T>
inline constexpr schedule::PartialBytes partial_bytes{sizeof(PartialNumber<T>),
                                                      row_entries<T> * sizeof(PartialRow)};
constexpr schedule::PartialBytes partial_bytes_of(DType type) {
  return type == DType::fp16 ? partial_bytes<__half> : partial_bytes<__nv_bfloat16>;
}

// The power of two that brings a row of numbers into the range of fp16: accumulators here, and the
// queries of products with codes.
struct RowScale {
  float up = 1;    // the stored element is value · up
  float down = 1;  // the reciprocal of `up`

  // `magnitudes` is Σ |value| of the row, a bound that takes less time than the largest magnitude.
  // `up` brings it into [2^14, 2^15): no value is too large then, and values down to 2^−19 of the
  // mean keep 11 bits. Where it is not finite, the values are not scaled.
  static FLASHMLA_HOST_DEVICE RowScale of(float magnitudes) {
    constexpr std::uint32_t bias = 127;
    constexpr std::uint32_t top = bias + 14;  // exponent of the scaled sum
    constexpr std::uint32_t least =
        top - bias + 1;  // smallest exponent whose power of two is a normal number
    const std::uint32_t exponent = __builtin_bit_cast(std::uint32_t, magnitudes) >> 23 & 0xff;
    const std::uint32_t from = exponent == 0xff ? top : exponent < least ? least : exponent;
    return {__builtin_bit_cast(float, (top + bias - from) << 23),
            __builtin_bit_cast(float, (from + bias - top) << 23)};
  }
};

}  // namespace flashmla::sm90::attend
