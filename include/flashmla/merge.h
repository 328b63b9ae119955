// Merging partial attention results. Each of them was computed over a part of the tokens (context
// parallelism, shared prefixes).
#pragma once

#include <span>

#include "flashmla/decode.h"
#include "flashmla/export.h"
#include "flashmla/tensor_view.h"

namespace flashmla {

// One part's result, computed without a sink.
struct PartialResult {
  TensorView out;  // [b, s_q, h_q, d_v] bf16, fp16 or fp32; last dimension contiguous
  TensorView lse;  // [b, h_q, s_q] fp32, any strides; +inf or −inf means no token and weight 0
};

// In the natural base:
//   out = Σ_p exp(lse_p − lse) out_p,  lse = ln Σ_p exp(lse_p)
// With outputs.lse_base = two the lse of every part and of the result are logarithms to base 2.
// Where attn_sink [h_q] fp32 is given, out is then scaled by exp(lse) / (exp(lse) + exp(sink)),
// with the natural lse in either base. Where no part has a token, out = 0 and lse = +inf, or −inf
// (outputs.empty_lse).
//
// A weight exp(lse_p − largest lse) below 2^−126 is taken as 0. A part that weighs 0 for a row is
// not read there. The types of the parts and of the result are independent of one another.
//
// outputs.out [b, s_q, h_q, d_v] is bf16, fp16 or fp32 and has a contiguous last dimension.
// outputs.lse [b, h_q, s_q] is fp32 and has any strides. Both may be a part's own tensors.
// outputs.max_logits is not given. Throws Error naming the argument, before it writes.
FLASHMLA_API void merge(std::span<const PartialResult> parts, const TensorView& attn_sink,
                        const Outputs& outputs, void* stream = nullptr);

}  // namespace flashmla
