// Where combine writes the result of a row.
#pragma once

#include <cstdint>

#include "sm90/kernels/combine/params.h"
#include "sm90/ops/mask.h"
#include "sm90/ops/online_softmax.h"
#include "sm90/ops/store_rows.h"

namespace flashmla::sm90::combine {

using attend::RowPlace;
using Entry = schedule::SplitRequest;

inline constexpr int unit_columns = 8;
inline constexpr int half_unit = 4;

// Where a thread writes its result, and the sink of its row. It is computed while the partial
// results are being loaded.
template <class Output>
struct ResultPlace {
  const Params<Output>& p;
  std::uint16_t* out;  // the thread's first column
  float* lse;          // null: another thread writes it
  float sink;          // −inf: no sink
  bool aligned;

  FLASHMLA_DEVICE ResultPlace(const Params<Output>& params, const Entry& entry, std::int32_t row,
                              std::int32_t column)
      : p(params), aligned(params.output.aligned) {
    const std::int32_t kv_head = p.by_rows.quotient(row);
    const RowPlace at = p.rows.place(kv_head, row - kv_head * p.rows.count);
    out = p.output.row(entry.request, at) + column;
    lse = column == 0 ? p.output.lse_of(p.rows, entry.request, at) : nullptr;
    const bool has_sink =
        p.output.sink != nullptr && kv_head < p.rows.kv_heads;  // rows are rounded up
    sink = ptx::load_if(has_sink, p.output.sink + at.head, ops::minus_infinity);
  }

  // The factor of the row, from the maximum and the sum of all partial results. Also writes the
  // lse.
  FLASHMLA_DEVICE float finish(float max, float sum) const {
    const ops::FinishedRow row(max, sum, sum, sink);
    if (lse != nullptr)
      *lse = row.lse_as(p.output.lse_scale, p.output.empty_lse);
    return row.factor;
  }

  template <class T>
  FLASHMLA_DEVICE void write(int first_column, const float (&values)[unit_columns],
                             float factor) const {
    uint4 unit;
    unit.x = ptx::pack<T>(values[0] * factor, values[1] * factor);
    unit.y = ptx::pack<T>(values[2] * factor, values[3] * factor);
    unit.z = ptx::pack<T>(values[4] * factor, values[5] * factor);
    unit.w = ptx::pack<T>(values[6] * factor, values[7] * factor);
    if (aligned)
      ops::store_unit<true>(out + first_column, unit);
    else
      ops::store_unit<false>(out + first_column, unit);
  }

  template <class T>
  FLASHMLA_DEVICE void write_half(const float4& values, float factor) const {
    const std::uint32_t low = ptx::pack<T>(values.x * factor, values.y * factor);
    const std::uint32_t high = ptx::pack<T>(values.z * factor, values.w * factor);
    if (aligned) {
      *reinterpret_cast<uint2*>(out) = {low, high};
      return;
    }
    out[0] = static_cast<std::uint16_t>(low);
    out[1] = static_cast<std::uint16_t>(low >> 16);
    out[2] = static_cast<std::uint16_t>(high);
    out[3] = static_cast<std::uint16_t>(high >> 16);
  }
};

}  // namespace flashmla::sm90::combine
