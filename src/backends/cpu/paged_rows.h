// Finding the cached rows of one request and KV head through the block table.
#pragma once

#include <cstdint>

#include "flashmla/decode.h"

namespace flashmla::backends::cpu {

class PagedRows {
 public:
  // The first `length` tokens of the request are there; the table is read for no others.
  PagedRows(const Inputs& inputs, std::int64_t request, std::int64_t kv_head, std::int64_t length);

  std::int64_t length() const { return length_; }

  // rows[i] = the row of token first + i, null where its page number lies outside the cache.
  // Returns whether all are there.
  bool gather(std::int64_t first, std::int64_t count, const void** rows) const;

 private:
  // Null where the tensor has no elements: no address is computed before a token is looked up.
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
