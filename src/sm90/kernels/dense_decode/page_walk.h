// Walking over the pages of a request by blocks of 64 tokens, without divisions. The page number of
// the next block is being loaded while the current block is used. So nothing may use it before
// checked_page().
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/place.h"

namespace flashmla::sm90::dense_decode {

struct PageWalk {
  const std::int32_t* pages;  // of the request
  std::int32_t token;         // the block's first token, in the request
  std::int32_t token_in_page;
  std::int32_t page;  // its number in the block table; −1 behind the length

  FLASHMLA_DEVICE PageWalk(const Params& p, const TileSegment& segment, std::int32_t block)
      : pages(p.block_table + segment.request * p.table_stride), token(block * block_tokens) {
    fetch(p, segment);
  }

  FLASHMLA_DEVICE void skip_blocks(const Params& p, const TileSegment& segment, int count) {
    token += count * block_tokens;
    fetch(p, segment);
  }

  // The page number, or −1 where the page lies outside the cache. The copy engine then writes
  // zeros.
  FLASHMLA_DEVICE std::int32_t checked_page(const Params& p, const TileSegment& segment) const {
    if (static_cast<std::uint32_t>(page) < static_cast<std::uint32_t>(p.num_pages))
      return page;
    if (is_there(segment))
      report_bad_page(p, segment.request);
    return -1;
  }

  // The page number of the block's token `row`, where a block has several pages.
  FLASHMLA_DEVICE std::int32_t checked_page_at(const Params& p, const TileSegment& segment,
                                               int row) const {
    PageWalk other = *this;
    other.token += row;
    other.fetch(p, segment);
    return other.checked_page(p, segment);
  }

 private:
  // NOTE: unsigned, because a block behind the end may begin at 2³¹.
  FLASHMLA_DEVICE bool is_there(const TileSegment& segment) const {
    return static_cast<std::uint32_t>(token) < static_cast<std::uint32_t>(segment.length);
  }

  FLASHMLA_DEVICE void fetch(const Params& p, const TileSegment& segment) {
    const std::int32_t index = p.by_page_size.quotient(token);  // page of the request
    token_in_page = token - index * p.page_size;
    page = -1;
    if (is_there(segment))
      page = __ldg(pages + index);
  }
};

}  // namespace flashmla::sm90::dense_decode
