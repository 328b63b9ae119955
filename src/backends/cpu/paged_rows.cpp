#include "backends/cpu/paged_rows.h"

#include <algorithm>

namespace flashmla::backends::cpu {

PagedRows::PagedRows(const Inputs& inputs, std::int64_t request, std::int64_t kv_head,
                     std::int64_t length)
    : table_(static_cast<const std::int32_t*>(inputs.block_table.data)),
      first_entry_(request * inputs.block_table.strides[0]),
      entry_stride_(inputs.block_table.strides[1]),
      cache_(static_cast<const std::uint16_t*>(inputs.kv_cache.data)),
      head_offset_(kv_head * inputs.kv_cache.strides[2]),
      pages_(inputs.kv_cache.shape[0]),
      page_size_(inputs.kv_cache.shape[1]),
      page_stride_(inputs.kv_cache.strides[0]),
      row_stride_(inputs.kv_cache.strides[1]),
      length_(std::clamp<std::int64_t>(length, 0, inputs.block_table.shape[1] * page_size_)) {}

bool PagedRows::gather(std::int64_t first, std::int64_t count, const void** rows) const {
  bool complete = true;
  for (std::int64_t i = 0; i < count;) {
    const std::int64_t in_page = (first + i) % page_size_;
    const std::int64_t run = std::min(count - i, page_size_ - in_page);
    const std::int64_t page = table_[first_entry_ + (first + i) / page_size_ * entry_stride_];
    const bool present = page >= 0 && page < pages_;
    complete = complete && present;
    for (std::int64_t k = 0; k < run; ++k)
      rows[i + k] =
          present ? cache_ + (head_offset_ + page * page_stride_ + (in_page + k) * row_stride_)
                  : nullptr;
    i += run;
  }
  return complete;
}

}  // namespace flashmla::backends::cpu
