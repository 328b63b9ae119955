// Launching the kernels that write rows to a cache and read them back, in every format. What the
// tensors are: flashmla/kv_cache.h.
#pragma once

#include "flashmla/kv_format.h"
#include "flashmla/tensor_view.h"

namespace flashmla::sm90::cache {

// `multiprocessors`: how many the GPU has. A later one of two rows with the same slot is written.
void launch_append(const TensorView& cache, KvFormat format, const TensorView& rows,
                   const TensorView& slots, int multiprocessors, void* stream);
void launch_gather(const TensorView& cache, KvFormat format, const TensorView& slots,
                   const TensorView& rows, int multiprocessors, void* stream);

void launch_quantise(const TensorView& plain, const TensorView& cache, KvFormat format,
                     int multiprocessors, void* stream);
void launch_dequantise(const TensorView& cache, KvFormat format, const TensorView& plain,
                       int multiprocessors, void* stream);

}  // namespace flashmla::sm90::cache
