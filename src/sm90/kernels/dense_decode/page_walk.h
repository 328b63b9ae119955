// Walking over the pages of a request by blocks of 64 tokens, without divisions, and ahead of use:
// the page number of the next block is on its way while the present one is loaded.
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/place.h"

namespace flashmla::sm90::dense_decode {

struct PageWalk {
  const std::int32_t* pages;  // of the request
  std::int32_t index;         // page of the block's first token, in the request
  std::int32_t token_in_page;
  std::int32_t page;  // its number in the cache; −1 where it lies outside

  FLASHMLA_DEVICE PageWalk(const Params& p, const TileSegment& segment, std::int32_t block)
      : pages(p.block_table + segment.request * p.table_stride) {
    const std::int32_t token = block * block_tokens;
    index = p.page_size == block_tokens ? block : token / p.page_size;
    token_in_page = token - index * p.page_size;
    fetch(p, segment);
  }

  FLASHMLA_DEVICE void skip_blocks(const Params& p, const TileSegment& segment, int count) {
    token_in_page += count * block_tokens;
    while (token_in_page >= p.page_size) {
      token_in_page -= p.page_size;
      ++index;
    }
    fetch(p, segment);
  }

  // The page that holds the block's token `row`, where a block is made of several pages.
  FLASHMLA_DEVICE std::int32_t page_at(const Params& p, const TileSegment& segment,
                                       int row) const {
    PageWalk other = *this;
    other.token_in_page += row;
    other.skip_blocks(p, segment, 0);
    return other.page;
  }

 private:
  FLASHMLA_DEVICE void fetch(const Params& p, const TileSegment& segment) {
    page = -1;
    if (index * static_cast<std::int64_t>(p.page_size) >= segment.length)
      return;
    page = __ldg(pages + index);
    if (static_cast<std::uint32_t>(page) >= static_cast<std::uint32_t>(p.num_pages)) {
      page = -1;
      report_bad_page(p, segment.request);
    }
  }
};

}  // namespace flashmla::sm90::dense_decode
