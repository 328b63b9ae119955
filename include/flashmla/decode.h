// Running a plan. The letters in shapes: b requests, s_q query tokens of each request, h_q query
// heads, h_kv KV heads, d_qk and d_v columns of a key and of a value.
#pragma once

#include <optional>

#include "flashmla/export.h"
#include "flashmla/lse.h"
#include "flashmla/plan.h"
#include "flashmla/tensor_view.h"

namespace flashmla {

// A default-constructed view means that the tensor is not given. Sparse prefill has no dimension b:
// q is [s_q, h_q, d_qk], kv_cache [s_kv, h_kv, d_qk], indices [s_q, h_kv, topk] and
// out [s_q, h_q, d_v]. The last dimension of q, the caches, block_table, the lists of slots and out
// is contiguous; their other dimensions may have any strides.
struct Inputs {
  TensorView q;            // [b, s_q, h_q, d_qk], query_type
  TensorView kv_cache;     // [num_pages, page_size, h_kv, token_elements], see kv_format.h
  TensorView block_table;  // [b, width] int32 page numbers, only in dense decoding; a request has
                           // at most width · page_size tokens
  TensorView attn_sink;    // [h_q] fp32, in the domain of the natural logarithm; optional
  std::optional<float> softmax_scale;  // d_qk^(−1/2) where it is not given

  // Only in sparse attention.
  TensorView indices;      // [b, s_q, topk] int32 cache slots: page · page_size + offset in page;
                           // a slot outside the cache is ignored
  TensorView topk_length;  // [b] (prefill: [s_q]) int32, optional: how many entries of a list count
  TensorView extra_kv_cache;     // a second cache of the same format; extra_kv_cache and
                                 // extra_indices are given where Problem::extra_page_size > 0
  TensorView extra_indices;      // [b, s_q, extra_topk] int32
  TensorView extra_topk_length;  // [b] int32, optional

  // Given where Problem::ragged_queries, split_query or scaled_cache is set, in this order.
  TensorView query_offsets;  // [b + 1] int32: request r has the query tokens query_offsets[r] …
                             // query_offsets[r + 1] − 1
  TensorView q_rotary;       // [b, s_q, h_q, 64], query_type, strided as q: the last 64 columns of
                             // the query. q then holds the first d_qk − 64
  TensorView kv_scale;       // [1] fp32
};

struct Outputs {
  TensorView out = {};         // [b, s_q, h_q, d_v], query_type
  TensorView lse = {};         // [b, h_q, s_q] fp32, contiguous (prefill: [s_q, h_q])
  TensorView max_logits = {};  // [s_q, h_q] fp32, optional, only in sparse prefill: largest scores

  LseBase lse_base = LseBase::natural;           // of lse and max_logits
  EmptyLse empty_lse = EmptyLse::plus_infinity;  // lse of a query that sees no token
};

// Computes softmax(softmax_scale · q kᵀ) v for every request of a scheduled plan. j runs over the
// tokens that a query sees, and k_j and v_j are the first d_qk and d_v elements of cached row j:
//   score_j = softmax_scale · ⟨q, k_j⟩
//   lse     = ln Σ_j exp(score_j)            (or log2: Outputs::lse_base)
//   out     = Σ_j exp(score_j − lse) v_j
// Where attn_sink is given, out is multiplied by exp(lse) / (exp(lse) + exp(attn_sink)) with the
// natural lse. lse itself is returned without the sink. A query that sees no token gets out = 0,
// lse = +inf (or −inf: Outputs::empty_lse) and max_logits = −inf. docs/numerics.md has the
// precision of each step.
//
// Throws Error naming the argument where shapes, types, strides, devices, options or the workspace
// do not fit the plan, or where a block table is too narrow for lengths that schedule() saw on the
// host. Nothing has been written then. Lengths on a device are clamped to the table, and
// Plan::status() reports it.
//
// Two requests with one query token of 16 heads, over pages of 64 tokens:
//   inputs.q = {q, DType::bf16, {2, 1, 16, 576}};
//   inputs.kv_cache = {cache, DType::bf16, {num_pages, 64, 1, 576}};
//   inputs.block_table = {pages, DType::i32, {2, width}};
//   outputs.out = {out, DType::bf16, {2, 1, 16, 512}};
//   outputs.lse = {lse, DType::fp32, {2, 16, 1}};
//   run(plan, inputs, outputs, run_workspace, stream);
FLASHMLA_API void run(const Plan& plan, const Inputs& inputs, const Outputs& outputs,
                      Workspace run_workspace, void* stream = nullptr);

}  // namespace flashmla
