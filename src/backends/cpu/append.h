// Copying latent rows into a paged cache of plain numbers (flashmla/kv_cache.h).
#pragma once

#include "flashmla/tensor_view.h"

namespace flashmla::backends::cpu {

void append_rows(const TensorView& cache, const TensorView& rows, const TensorView& slots);

}  // namespace flashmla::backends::cpu
