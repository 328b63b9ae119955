// Loading blocks of keys row by row, where no box of a tensor map fits: any page size, any strides.
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/place.h"
#include "sm90/ops/load_rows.h"
#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::dense_decode {

// The rows of a block, which a warp loads. Each lane looks up the pages of two rows.
class GatheredRows {
 public:
  // Starts to load the page numbers of the block that begins at `token`, without waiting.
  FLASHMLA_DEVICE void look_up(const Params& p, const TileSegment& segment, std::int32_t token) {
    first_token_ = token;
    const std::int32_t* pages = p.block_table + segment.request * p.table_stride;
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (is_there(segment, i))
        page_[i] = __ldg(pages + p.by_page_size.quotient(own_token(i)));
  }

  // Waits for the page numbers, and checks which lie in the cache.
  FLASHMLA_DEVICE void check(const Params& p, const TileSegment& segment) {
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (!is_there(segment, i)) {
        page_[i] = nowhere;
      } else if (static_cast<std::uint32_t>(page_[i]) >= static_cast<std::uint32_t>(p.num_pages)) {
        page_[i] = nowhere;
        report_bad_page(p, segment.request);
      }
  }

  // Starts the copies of `chunks` chunks of each row, from `first_chunk` on, to `target` and behind
  // it. The warp copies four rows together, `AtOnce` times in succession. Rows behind the length or
  // outside the cache become zeros.
  template <int AtOnce>
  FLASHMLA_DEVICE void copy(const Params& p, std::int32_t kv_head, int first_chunk, int chunks,
                            std::uint32_t target) const {
    constexpr std::uint32_t chunk_bytes = block_tokens * tile::row_bytes;
    const int unit = lane() % tile::units_per_row;
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll AtOnce
      for (int first = 0; first < 32; first += 32 / tile::units_per_row) {
        const int row = first + lane() / tile::units_per_row;
        const std::int32_t page = __shfl_sync(0xffffffffu, page_[i], row);
        const std::int32_t token = first_token_ + 32 * i + row;
        const std::int32_t token_in_page = token - p.by_page_size.quotient(token) * p.page_size;
        const std::uint16_t* source = p.cache;
        if (page != nowhere)
          source += page * p.cache_strides.outer + token_in_page * p.cache_strides.middle +
                    kv_head * p.cache_strides.head + first_chunk * tile::chunk_columns + unit * 8;
        std::uint32_t to = target + tile::swizzled(32 * i + row, unit);
#pragma unroll AtOnce
        for (int chunk = 0; chunk < chunks; ++chunk, to += chunk_bytes)
          ops::load_unit(to, page != nowhere ? source + chunk * tile::chunk_columns : source,
                         page != nowhere, p.kv_aligned);
      }
    ptx::commit_copies();
  }

 private:
  static constexpr std::int32_t nowhere = -1;

  static FLASHMLA_DEVICE int lane() { return threadIdx.x % 32; }
  FLASHMLA_DEVICE std::int32_t own_token(int i) const { return first_token_ + lane() + 32 * i; }
  // NOTE: unsigned, because a block behind the end may begin at 2³¹.
  FLASHMLA_DEVICE bool is_there(const TileSegment& segment, int i) const {
    return static_cast<std::uint32_t>(own_token(i)) < static_cast<std::uint32_t>(segment.length);
  }

  std::int32_t first_token_;
  std::int32_t page_[2];
};

}  // namespace flashmla::sm90::dense_decode
