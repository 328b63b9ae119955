// Loading a block of keys row by row, where no box of a tensor map fits: any page size, any
// strides.
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/place.h"
#include "sm90/ops/load_rows.h"
#include "sm90/ptx/load_store.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::dense_decode {

// A warp copies `chunks` chunks, four at most, of the block that begins at `first_token`, from
// `first_chunk` on, to `target` and behind it. Rows past the length or outside of the cache become
// zeros. Returns when they are there, also for the copy engine's side.
FLASHMLA_DEVICE void gather_rows(const Params& p, const TileSegment& segment,
                                 std::int32_t first_token, int first_chunk, int chunks,
                                 std::uint32_t target) {
  constexpr std::uint32_t chunk_bytes = block_tokens * tile::row_bytes;
  const int lane = threadIdx.x % 32;
  const int chunk = lane / tile::units_per_row;
  const int unit = lane % tile::units_per_row;
  const std::int32_t* pages = p.block_table + segment.request * p.table_stride;
  const std::int64_t column = segment.kv_head * p.cache_strides.head +
                              (first_chunk + chunk) * tile::chunk_columns + unit * 8;
#pragma unroll 1
  for (int row = 0; row < block_tokens; ++row) {
    const std::int32_t token = first_token + row;
    bool wanted = token < segment.length;
    const std::uint16_t* source = p.cache;
    if (wanted) {
      const std::int32_t index = p.by_page_size.quotient(token);
      const std::int32_t page = __ldg(pages + index);
      wanted = static_cast<std::uint32_t>(page) < static_cast<std::uint32_t>(p.num_pages);
      if (wanted)
        source += page * p.cache_strides.outer +
                  (token - index * p.page_size) * p.cache_strides.middle + column;
      else if (lane == 0)
        report_bad_page(p, segment.request);
    }
    if (chunk < chunks)
      ops::load_unit(target + chunk * chunk_bytes + tile::swizzled(row, unit), source, wanted,
                     p.kv_aligned);
  }
  ptx::wait_for_copies();
  ptx::fence_async_proxy();
}

}  // namespace flashmla::sm90::dense_decode
