// Running a plan. In the shapes there are b requests with s_q query tokens each, h_q query heads
// and h_kv KV heads.
#pragma once

#include <optional>

#include "flashmla/export.h"
#include "flashmla/lse.h"
#include "flashmla/plan.h"
#include "flashmla/tensor_view.h"

namespace flashmla {

// A default-constructed view means that the tensor is not given. Sparse prefill has no dimension b:
// q is [s_q, h_q, d_qk], kv_cache [s_kv, h_kv, d_qk], indices [s_q, h_kv, topk] and
// out [s_q, h_q, d_v].
struct Inputs {
  TensorView q;  // [b, s_q, h_q, d_qk], query_type; last dimension contiguous, others strided
  TensorView kv_cache;  // [num_pages, page_size, h_kv, token_elements]; last dimension contiguous
  TensorView block_table;  // [b, width] int32 page numbers, dense decoding alone; rows strided;
                           // width · page_size is at least the number of tokens of each request
  TensorView attn_sink;    // [h_q] fp32, natural-log domain, optional
  std::optional<float> softmax_scale;  // d_qk^(−1/2) where it is not given

  // Sparse attention.
  TensorView indices;      // [b, s_q, topk] int32 cache slots: page · page_size + offset in page;
                           // a slot outside the cache is no token
  TensorView topk_length;  // [b] (prefill: [s_q]) int32, optional: number of entries that count
  TensorView extra_kv_cache;     // a second cache of the same format; this and extra_indices are
                                 // given where Problem::extra_page_size > 0
  TensorView extra_indices;      // [b, s_q, extra_topk] int32
  TensorView extra_topk_length;  // [b] int32, optional

  // For Problem::ragged_queries, split_query and scaled_cache, in this order.
  TensorView
      query_offsets;    // [b + 1] int32: query tokens of request r are offsets[r] … offsets[r+1]−1
  TensorView q_rotary;  // [b, s_q, h_q, 64], query_type, the last 64 columns of the query; q then
                        // holds the first d_qk − 64. Strided as q. The results are those of one q.
  TensorView kv_scale;  // [1] fp32
};

struct Outputs {
  TensorView out = {};         // [b, s_q, h_q, d_v], query_type; last dimension contiguous
  TensorView lse = {};         // [b, h_q, s_q] fp32 contiguous (prefill: [s_q, h_q])
  TensorView max_logits = {};  // [s_q, h_q] fp32, the largest score; sparse prefill, optional

  LseBase lse_base = LseBase::natural;           // of lse and max_logits
  EmptyLse empty_lse = EmptyLse::plus_infinity;  // lse of a query that sees no token
};

// Computes softmax(softmax_scale · q kᵀ) v for every request of a scheduled plan:
//   lse = ln Σ_j exp(score_j),  out = Σ_j exp(score_j − lse) v_j   (the sink scales out, not lse)
// A query that sees no token gets out = 0, lse = +inf (or −inf: Outputs::empty_lse) and a largest
// score of −inf. attn_sink is natural whatever the base of lse.
//
// Throws Error naming the argument when shapes, types, strides, devices, options or the workspace
// do not fit the plan, or when a block table is too narrow for lengths that schedule() found on the
// host. Nothing has been written then. Lengths on a device are clamped to the table, and
// Plan::status() tells of it.
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
