// Merging partial attention results. Each of them was computed over some of the tokens (context
// parallelism, shared prefixes).
#pragma once

#include <span>

#include "flashmla/decode.h"
#include "flashmla/export.h"
#include "flashmla/tensor_view.h"

namespace flashmla {

// A result over some of the tokens, computed without a sink.
struct PartialResult {
  TensorView out;  // [b, s_q, h_q, d_v] bf16, fp16 or fp32; last dimension contiguous
  TensorView lse;  // [b, h_q, s_q] fp32, any strides; +inf or −inf means no token and weight 0
};

// Merges the partial results p by log-sum-exp. With natural logarithms:
//   lse = ln Σ_p exp(lse_p),  out = Σ_p exp(lse_p − lse) out_p
// With outputs.lse_base = two, the lse of every part and of the result are logarithms to base 2.
// Where attn_sink [h_q] fp32 is given, out is also multiplied by
// exp(lse) / (exp(lse) + exp(attn_sink)), with the natural lse in either base. Where no part has a
// token, out = 0 and lse = +inf (or −inf: outputs.empty_lse).
//
// A weight exp(lse_p − largest lse) below 2^−126, the smallest normal fp32 number, counts as 0. A
// part whose weight for a row is 0 is not read there. Parts and result may have different types.
//
// outputs.out [b, s_q, h_q, d_v] is bf16, fp16 or fp32 and has a contiguous last dimension.
// outputs.lse [b, h_q, s_q] is fp32 and has any strides. Both may be the tensors of a part.
// outputs.max_logits is not given. Throws Error naming the argument, before it writes.
//
// Two parts, whose tensors have the shapes of the result:
//   const PartialResult parts[] = {{out_a, lse_a}, {out_b, lse_b}};
//   merge(parts, attn_sink, {.out = out, .lse = lse}, stream);
FLASHMLA_API void merge(std::span<const PartialResult> parts, const TensorView& attn_sink,
                        const Outputs& outputs, void* stream = nullptr);

}  // namespace flashmla
