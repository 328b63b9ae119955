// The check of a cache tensor, for any format.
#pragma once

#include "api/tensor_check.h"
#include "flashmla/kv_format.h"

namespace flashmla::api {

struct CacheWanted {
  KvFormat format;
  std::int64_t num_pages = any_size;
  std::int64_t page_size = any_size;
  std::int64_t kv_heads = 1;
  std::int64_t qk_dim = 0;
};

// The tensor must be [num_pages, page_size, h_kv, token_elements] with a contiguous last dimension.
// In the FP8 formats it may have any byte type, and its tokens must lie back to back in a page.
TensorCheck check_cache(const char* argument, const TensorView& cache, const CacheWanted& wanted);

}  // namespace flashmla::api
