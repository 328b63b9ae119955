// Writing rows to a paged cache and reading them back, in every format (flashmla/kv_cache.h).
#pragma once

#include "flashmla/kv_format.h"
#include "flashmla/tensor_view.h"

namespace flashmla::backends::cpu {

void append_rows(const TensorView& cache, KvFormat format, const TensorView& rows,
                 const TensorView& slots);
void gather_rows(const TensorView& cache, KvFormat format, const TensorView& slots,
                 const TensorView& rows);

// These two convert a whole cache. `plain` is [num_pages, page_size, h_kv, d_qk].
void quantise_cache(const TensorView& plain, const TensorView& cache, KvFormat format);
void dequantise_cache(const TensorView& cache, KvFormat format, const TensorView& plain);

}  // namespace flashmla::backends::cpu
