// Locates the cached rows of one request and one KV head through the block table.
#pragma once

#include <cstdint>

#include "flashmla/decode.h"

namespace flashmla::backends::cpu {

class PagedRows {
 public:
  // The request has `length` tokens. The block table is read only for these.
  PagedRows(const Inputs& inputs, std::int64_t request, std::int64_t kv_head, std::int64_t length);

  std::int64_t length() const { return length_; }

  // Sets rows[i] to the row of token first + i, for i < count. The pointer is null where the page
  // number lies outside the cache. Returns whether no pointer is null.
  bool gather(std::int64_t first, std::int64_t count, const void** rows) const;

 private:
  // Pointers are null where a tensor has no elements. So an address is computed only for a token.
  const std::int32_t* table_;
  std::int64_t first_entry_;   // of the request in the table
  std::int64_t entry_stride_;  // between a request's entries of the table
  const std::uint16_t* cache_;
  std::int64_t head_offset_;  // of the KV head in a token's row, in elements
  std::int64_t pages_;
  std::int64_t page_size_;
  std::int64_t page_stride_;
  std::int64_t row_stride_;
  std::int64_t length_;
};

}  // namespace flashmla::backends::cpu
