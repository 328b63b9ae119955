// Loading the queries of a tile, which are heads of one query token, as swizzled chunks.
#pragma once

#include <cstdint>

#include "sm90/attend/tile_segment.h"
#include "sm90/kernels/sparse_decode/params.h"
#include "sm90/ops/load_rows.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::sparse_decode {

// `Threads` threads call this; `thread` is the number of the caller. chunk_address(chunk) is a
// shared address. Rows behind the last head become zeros. The caller synchronises the threads
// afterwards.
template <int Chunks, int TileRows, int Threads, class ChunkAddress>
FLASHMLA_DEVICE void load_queries(const Params& p, const attend::TileSegment& segment, int thread,
                                  ChunkAddress chunk_address) {
  constexpr int rows_at_once = Threads / tile::units_per_row;
  const auto at = p.output.batch_place(segment.request);
  const std::uint16_t* token = p.q + at.request * p.q_strides.outer + at.token * p.q_strides.middle;
  const int unit = thread % tile::units_per_row;
#pragma unroll 1
  for (int row = thread / tile::units_per_row; row < TileRows; row += rows_at_once) {
    const std::int32_t head = segment.first_row + row;
    const bool there = head < p.rows.count;
    const std::uint16_t* source = token + (there ? head : 0) * p.q_strides.head + unit * 8;
#pragma unroll
    for (int chunk = 0; chunk < Chunks; ++chunk)
      ops::load_unit(chunk_address(chunk) + tile::swizzled(row, unit),
                     source + chunk * tile::chunk_columns, there, p.q_aligned);
  }
  ptx::wait_for_copies();
  ptx::fence_async_proxy();
}

}  // namespace flashmla::sm90::sparse_decode
