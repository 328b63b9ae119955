// Writing to a paged KV cache, and reading it back: any of the formats (kv_format.h).
//
//   cache  [num_blocks, page_size, h_kv, token_elements]; last dimension contiguous. FP8 formats
//   are
//          tensors of bytes (e4m3, u8 or i8) with h_kv = 1 and tokens back to back in a page; pages
//          may be further apart
//   rows   of the cache's type, bf16 for FP8 formats; last dimension contiguous
//
// Any dimension but the last may be 0: there is nothing to do then.
//
// An FP8 format stores e4m3(x / scale), rounded to nearest even and clamped to ±448, with
// scale = 2^ceil(log2(max(absmax / 448, 1e-4))) for each tile; absmax is of its finite numbers, an
// infinity becomes ±448 · scale and NaN stays NaN. Reading gives bf16(e4m3 · scale). Each function
// throws Error naming the argument, before it writes.
#pragma once

#include "flashmla/export.h"
#include "flashmla/kv_format.h"
#include "flashmla/tensor_view.h"

namespace flashmla {

// Writes rows [n, h_kv, d_qk] to their slots [n] int32 or int64: page · page_size + offset in page.
// A slot < 0 or ≥ num_blocks · page_size is skipped (padding); one that is named twice gets one of
// its rows.
FLASHMLA_API void append(const TensorView& cache, KvFormat format, const TensorView& rows,
                         const TensorView& slots, void* stream = nullptr);

// Reads the rows of slots; what append() would skip becomes zeros.
FLASHMLA_API void gather(const TensorView& cache, KvFormat format, const TensorView& slots,
                         const TensorView& rows, void* stream = nullptr);

// A whole cache from a plain one [num_blocks, page_size, h_kv, d_qk], and back.
FLASHMLA_API void quantise(const TensorView& plain, const TensorView& cache, KvFormat format,
                           void* stream = nullptr);
FLASHMLA_API void dequantise(const TensorView& cache, KvFormat format, const TensorView& plain,
                             void* stream = nullptr);

}  // namespace flashmla
