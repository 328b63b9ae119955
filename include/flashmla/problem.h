// The description of one attention call: everything that a plan depends on. What may differ between
// the layers of one decoding step is not in it: addresses, strides, softmax_scale, sinks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "flashmla/dtype.h"
#include "flashmla/export.h"
#include "flashmla/kv_format.h"
#include "flashmla/tensor_view.h"

namespace flashmla {

enum class AttentionKind : std::int32_t {
  dense_decode,    // every query token attends to its request's whole paged cache
  sparse_decode,   // every query token attends to a list of cache slots
  sparse_prefill,  // every query token attends to a list of rows of one unpaged tensor
};

constexpr std::string_view name_of(AttentionKind kind) {
  switch (kind) {
    case AttentionKind::dense_decode:
      return "dense_decode";
    case AttentionKind::sparse_decode:
      return "sparse_decode";
    case AttentionKind::sparse_prefill:
      return "sparse_prefill";
  }
  return "?";
}

struct Problem {
  AttentionKind kind = AttentionKind::dense_decode;
  Device device;                   // of every tensor of the call
  DType query_type = DType::bf16;  // of q and out: bf16 or fp16
  KvFormat kv_format = KvFormat::bf16;

  std::int64_t batch = 0;         // b, requests; 0 … 131,072
  std::int64_t query_tokens = 1;  // s_q, query tokens of each request; 0 … 131,072
  std::int64_t query_heads = 0;   // h_q, a multiple of kv_heads
  std::int64_t kv_heads = 1;      // h_kv; query head h uses KV head h·h_kv/h_q rounded down
  std::int64_t qk_dim = 576;      // d_qk: 576 (DeepSeek-V3 and kin) or 512 (V4)
  std::int64_t v_dim = 512;       // d_v: 512; a value is the first d_v elements of a cached row

  std::int64_t page_size = 64;  // tokens in a page of the cache, ≥ 1
  // The number of pages that a request may have: the width of the block table. The choice of
  // kernels on a GPU follows from it, so short requests are faster where it is no larger than they
  // need.
  std::int64_t max_pages = 0;

  // Only for sparse attention, which takes neither max_pages nor causal. Prefill has batch = 1.
  std::int64_t topk = 0;             // entries of the index list of a query token, ≥ 0
  std::int64_t extra_topk = 0;       // entries of its list into the extra cache, ≥ 0
  std::int64_t extra_page_size = 0;  // tokens in a page of the extra cache; 0: no extra cache

  bool causal = false;          // query token t sees cache tokens j ≤ s_k − s_q + t
  bool ragged_queries = false;  // q is packed; Inputs::query_offsets says where a request starts
  bool split_query = false;     // q has two parts: the latent one, and Inputs::q_rotary
  bool scaled_cache = false;    // an FP8 cache with one scale for all elements (Inputs::kv_scale)

  bool batch_invariant = false;  // output bits of a request do not depend on the other requests
  // Workers (on a GPU: multiprocessors) that the call may use; 0: all.
  std::int32_t max_workers = 0;

  friend bool operator==(const Problem&, const Problem&) = default;
};

// One line: "dense_decode bf16/bf16 b=4 s_q=1 h_q=64 h_kv=1 d=576/512 page=64 max_pages=128 on
// cpu:0".
FLASHMLA_API std::string describe(const Problem& problem);

}  // namespace flashmla
