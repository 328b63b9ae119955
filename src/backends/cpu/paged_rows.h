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
  const std::int32_t* pages_;
  std::int64_t page_stride_;   // between entries of the table
  const std::uint16_t* base_;  // of the KV head in page 0
  std::int64_t blocks_;
  std::int64_t page_size_;
  std::int64_t block_stride_;
  std::int64_t row_stride_;
  std::int64_t length_;
};

}  // namespace flashmla::backends::cpu
