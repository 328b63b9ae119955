// Launching the kernel that writes rows to a cache.
#pragma once

#include "flashmla/tensor_view.h"

namespace flashmla::sm90::append {

// cache [num_pages, page_size, h_kv, d_qk], rows [n, h_kv, d_qk] of the same 16-bit type, slots
// [n].
void launch(const TensorView& cache, const TensorView& rows, const TensorView& slots, void* stream);

}  // namespace flashmla::sm90::append
