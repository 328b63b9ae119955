// Walking over the pages of a request by blocks of 64 tokens, without divisions, and ahead of use:
// the page number of the next block is on its way while the present one is loaded, so that nothing
// may look at it before checked_page().
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/place.h"

namespace flashmla::sm90::dense_decode {

struct PageWalk {
  const std::int32_t* pages;  // of the request
  std::int32_t index;         // page of the block's first token, in the request
  std::int32_t token_in_page;
  std::int32_t page;  // its number in the cache, as the block table has it; −1 past the length

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

  // The page, or −1 where it lies outside of the cache: the copy engine then writes zeros.
  FLASHMLA_DEVICE std::int32_t checked_page(const Params& p, const TileSegment& segment) const {
    if (static_cast<std::uint32_t>(page) < static_cast<std::uint32_t>(p.num_pages))
      return page;
    if (index * static_cast<std::int64_t>(p.page_size) < segment.length)
      report_bad_page(p, segment.request);
    return -1;
  }

  // The same of the page that holds the block's token `row`, where a block is made of several
  // pages.
  FLASHMLA_DEVICE std::int32_t checked_page_at(const Params& p, const TileSegment& segment,
                                               int row) const {
    PageWalk other = *this;
    other.token_in_page += row;
    other.skip_blocks(p, segment, 0);
    return other.checked_page(p, segment);
  }

 private:
  FLASHMLA_DEVICE void fetch(const Params& p, const TileSegment& segment) {
    page = -1;
    if (index * static_cast<std::int64_t>(p.page_size) < segment.length)
      page = __ldg(pages + index);
  }
};

}  // namespace flashmla::sm90::dense_decode
