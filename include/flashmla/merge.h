// Merging partial attention results, each computed over a part of the tokens (context parallelism,
// shared prefixes).
#pragma once

#include <span>

#include "flashmla/export.h"
#include "flashmla/tensor_view.h"

namespace flashmla {

// One part's result, computed without a sink.
struct PartialResult {
  TensorView out;  // [b, s_q, h_q, d_v] bf16, fp16 or fp32; last dimension contiguous
  TensorView lse;  // [b, h_q, s_q] fp32 contiguous; +inf or −inf: this part has no token, weight 0
};

// out = Σ_p exp(lse_p − lse) out_p,  lse = ln Σ_p exp(lse_p); out is then scaled by
// exp(lse) / (exp(lse) + exp(sink)) where attn_sink [h_q] fp32 is given. All parts empty: 0 and
// +inf. `out` and `lse` may be a part's own tensors. Throws Error naming the argument.
FLASHMLA_API void merge(std::span<const PartialResult> parts, const TensorView& attn_sink,
                        const TensorView& out, const TensorView& lse, void* stream = nullptr);

}  // namespace flashmla
