// Where the rows of a tile go: to the output, scaled by the sink, or as a partial result.
//
// NOTE: this runs once a segment and finds the instruction cache cold, which costs more than the
// instructions themselves: so each thread works out one row, and the others ask it.
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/segment_record.h"
#include "sm90/ops/mask.h"
#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::dense_decode {

class ResultRow {
 public:
  FLASHMLA_DEVICE ResultRow(const Params& params, const SegmentRecord& record, int tile_row)
      : p(params),
        segment(record),
        at(RowPlace::of(params, record.kv_head, record.first_row + tile_row)),
        partial_row((static_cast<std::int64_t>(record.partial) * params.kv_heads + record.kv_head) *
                        params.rows +
                    record.first_row + tile_row) {}

  // What the accumulators are multiplied by, from the row's reference maximum and its sum; writes
  // the lse where `writes_lse`. A row without tokens is 0.
  FLASHMLA_DEVICE float finish(float max, float sum, bool writes_lse) const {
    constexpr float log2_e = 1.4426950408889634f;
    constexpr float ln_2 = 0.6931471805599453f;
    const bool empty = sum == 0;
    const bool partial = segment.partial >= 0;
    const float lse = empty ? ops::minus_infinity : max + ptx::log2(sum);
    float factor = empty ? 0 : ptx::reciprocal(sum);
    if (!at.there)
      return factor;
    if (p.sink != nullptr && !partial && !empty)
      factor *= ptx::reciprocal(1 + ptx::exp2(p.sink[at.head] * log2_e - lse));
    if (writes_lse) {
      float* const target =
          partial ? p.partial_lse + partial_row
                  : p.lse +
                        (static_cast<std::int64_t>(segment.request) * p.query_heads + at.head) *
                            p.query_tokens +
                        at.token;
      *target = partial ? lse : empty ? -ops::minus_infinity : lse * ln_2;
    }
    return factor;
  }

  // Null for a row of padding.
  FLASHMLA_DEVICE std::uint16_t* target() const {
    if (!at.there)
      return nullptr;
    if (segment.partial >= 0)
      return p.partial_out + partial_row * v_dim;
    return p.out + segment.request * p.out_strides.outer + at.token * p.out_strides.middle +
           at.head * p.out_strides.head;
  }

 private:
  const Params& p;
  const SegmentRecord& segment;
  RowPlace at;
  std::int64_t partial_row;
};

// Copies `Count` pieces of 32 units (16 bytes for each lane) from shared memory to rows of the
// result. `target`: a lane's own row, null for none; source(i), owner(i) and column(i): of piece i
// the lane's shared address, the lane that knows its row, and the lane's first column. `free` is
// called when the shared memory has been read.
template <int Count, class Source, class Owner, class Column, class Free>
FLASHMLA_DEVICE void write_rows(std::uint16_t* target, bool aligned, Source source, Owner owner,
                                Column column, Free free) {
  constexpr std::uint32_t all = 0xffffffffu;
  auto address = reinterpret_cast<std::uint64_t>(target);
  if (aligned) {
    uint4 units[Count];
#pragma unroll
    for (int i = 0; i < Count; ++i)
      units[i] = ptx::load_shared_unit(source(i));
    free();
#pragma unroll
    for (int i = 0; i < Count; ++i) {
      auto* const row = reinterpret_cast<std::uint16_t*>(__shfl_sync(all, address, owner(i)));
      if (row != nullptr)
        *reinterpret_cast<uint4*>(row + column(i)) = units[i];
    }
    return;
  }
#pragma unroll 1
  for (int i = 0; i < Count; ++i) {
    auto* const row = reinterpret_cast<std::uint16_t*>(__shfl_sync(all, address, owner(i)));
    const uint4 unit = ptx::load_shared_unit(source(i));
    const std::uint32_t words[4] = {unit.x, unit.y, unit.z, unit.w};
    if (row != nullptr)
#pragma unroll
      for (int j = 0; j < 8; ++j)
        row[column(i) + j] = static_cast<std::uint16_t>(words[j / 2] >> (j % 2 * 16));
  }
  free();
}

}  // namespace flashmla::sm90::dense_decode
