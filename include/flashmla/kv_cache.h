// Writing to a paged KV cache and reading it back, in any of the formats of kv_format.h.
//
//   cache  [num_pages, page_size, h_kv, token_elements]; the last dimension is contiguous. A cache
//          of an FP8 format is a tensor of bytes (e4m3, u8 or i8), and its h_kv is 1. Its tokens
//          lie back to back in a page; its pages may be further apart.
//   rows   have the type of the cache, or bf16 for FP8 formats; the last dimension is contiguous.
//
// Any dimension but the last may be 0. Then there is nothing to do.
//
// An FP8 format stores e4m3(x / scale), rounded to nearest even and clamped to ±448. Each tile of
// elements has scale = 2^ceil(log2(max(absmax / 448, 1e-4))), where absmax is the largest magnitude
// of its finite elements (docs/formats.md). An infinity becomes ±448 · scale, and NaN stays NaN.
// Reading gives bf16(e4m3 · scale). Each function throws Error naming the argument, before it
// writes.
#pragma once

#include "flashmla/export.h"
#include "flashmla/kv_format.h"
#include "flashmla/tensor_view.h"

namespace flashmla {

// Writes rows [n, h_kv, d_qk] to the slots [n], int32 or int64. A slot is page · page_size + offset
// in page. A slot < 0 or ≥ num_pages · page_size is skipped (padding). A slot that is named twice
// gets the last one of its rows.
//
// One new token for each of two requests, at the slots 100 and 205 of a bf16 cache:
//   append({cache, DType::bf16, {num_pages, 64, 1, 576}}, KvFormat::bf16,
//          {rows, DType::bf16, {2, 1, 576}}, {slots, DType::i64, {2}}, stream);
FLASHMLA_API void append(const TensorView& cache, KvFormat format, const TensorView& rows,
                         const TensorView& slots, void* stream = nullptr);

// Reads the rows [n, h_kv, d_qk] of the slots [n]. A slot that append() would skip gives zeros.
FLASHMLA_API void gather(const TensorView& cache, KvFormat format, const TensorView& slots,
                         const TensorView& rows, void* stream = nullptr);

// quantise() writes a whole cache from the plain rows [num_pages, page_size, h_kv, d_qk].
// dequantise() writes the plain rows from a cache.
FLASHMLA_API void quantise(const TensorView& plain, const TensorView& cache, KvFormat format,
                           void* stream = nullptr);
FLASHMLA_API void dequantise(const TensorView& cache, KvFormat format, const TensorView& plain,
                             void* stream = nullptr);

}  // namespace flashmla
