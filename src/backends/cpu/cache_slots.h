// Where the token of a slot (page · page_size + offset in page) lies in a cache, for every format.
#pragma once

#include <cstddef>
#include <cstdint>

#include "flashmla/kv_format.h"
#include "flashmla/tensor_view.h"

namespace flashmla::backends::cpu {

struct CachedToken {
  std::byte* row;     // of the first KV head
  std::byte* scales;  // of an FP8 format; null in bf16 and fp16
};

class CacheSlots {
 public:
  // A view that is not given has no slots.
  CacheSlots(const TensorView& cache, KvFormat format)
      : format_(format),
        data_(static_cast<std::byte*>(cache.data)),
        page_size_(cache.shape[1]),
        capacity_(cache.shape[0] * cache.shape[1]),
        page_stride_(cache.strides[0]),
        row_stride_(cache.strides[1]),
        element_(static_cast<std::int64_t>(size_of(cache.dtype))) {}

  bool holds(std::int64_t slot) const { return slot >= 0 && slot < capacity_; }
  std::int64_t capacity() const { return capacity_; }

  // holds(slot) must be true.
  CachedToken locate(std::int64_t slot) const {
    const std::int64_t token = slot % page_size_;
    std::byte* const page = data_ + slot / page_size_ * page_stride_ * element_;
    switch (format_) {
      case KvFormat::v32:
        return {page + V32Layout::token_offset(token), page + V32Layout::scales_of(token, 0)};
      case KvFormat::v4:
        return {page + V4Layout::token_offset(token),
                page + V4Layout::scales_of(token, page_size_)};
      default:
        return {page + token * row_stride_ * element_, nullptr};
    }
  }

 private:
  KvFormat format_;
  std::byte* data_;
  std::int64_t page_size_;
  std::int64_t capacity_;
  // Strides are in elements. The stride of a dimension of size 1 may be any number, so it must not
  // be converted to bytes: only its product with an index is sure to fit.
  std::int64_t page_stride_;
  std::int64_t row_stride_;  // of bf16 and fp16; FP8 tokens lie back to back
  std::int64_t element_;     // bytes
};

}  // namespace flashmla::backends::cpu
