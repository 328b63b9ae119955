// Writing to a paged KV cache.
#pragma once

#include "flashmla/export.h"
#include "flashmla/kv_format.h"
#include "flashmla/tensor_view.h"

namespace flashmla {

// Writes latent rows to their slots. A slot is page · page_size + offset in page.
//   rows   [n, h_kv, d_qk], the cache's type (bf16 for FP8 formats); last dimension contiguous
//   slots  [n] int64; a slot < 0 or ≥ num_blocks · page_size is skipped (padding)
//   cache  [num_blocks, page_size, h_kv, token_elements]; last dimension contiguous
// A slot that is named twice gets one of its rows. Throws Error naming the argument.
FLASHMLA_API void append(const TensorView& cache, KvFormat format, const TensorView& rows,
                         const TensorView& slots, void* stream = nullptr);

}  // namespace flashmla
