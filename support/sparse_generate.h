// The tensors of a sparse case. Whatever no result may depend on is poisoned: outputs and
// workspaces hold NaN, so do paddings and cached rows that no counted entry names; entries that do
// not count hold any integer, slots of poisoned rows among them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "flashmla/decode.h"
#include "support/case_result.h"
#include "support/guarded_tensor.h"
#include "support/sparse_case.h"

namespace flashmla::support {

// A cache and the lists that lead into it.
struct IndexedCache {
  std::int64_t page_size;
  std::int64_t num_pages;
  std::int64_t topk;
  GuardedTensor cache;             // [num_pages, page_size, 1, token_elements]
  GuardedTensor indices;           // [b, s_q, topk]
  GuardedTensor lengths;           // [b], in prefill [s_q]
  std::vector<std::int32_t> live;  // slots that counted entries may name

  std::int64_t capacity() const { return num_pages * page_size; }
};

class SparseTensors {
 public:
  SparseTensors(const SparseCase& sparse_case, Memory& memory);

  Inputs inputs() const;
  Outputs outputs() const;

  // The numbers of the tokens that a query token attends to, in the order of its lists: [n][d_qk]
  // bf16 as the format dequantises them.
  std::vector<std::uint16_t> attended(std::int64_t request, std::int64_t query_token);
  // The same of an FP8 cache, without rounding.
  std::vector<float> attended_exactly(std::int64_t request, std::int64_t query_token);
  // How many of these tokens are different ones: lists may name a slot more than once.
  std::int64_t different_tokens(std::int64_t request, std::int64_t query_token);
  std::span<const std::uint16_t> query_row(std::int64_t request, std::int64_t query_token,
                                           std::int64_t head);

  SparseCase sparse_case;
  GuardedTensor q;  // [b, s_q, h_q, d_qk]
  IndexedCache main;
  IndexedCache extra;                // of no elements without extra_topk
  GuardedTensor attn_sink;           // [h_q]
  GuardedTensor out;                 // [b, s_q, h_q, d_v]
  GuardedTensor lse;                 // [b, h_q, s_q]; prefill [s_q, h_q]
  GuardedTensor max_logits;          // [s_q, h_q]
  std::vector<float> sink_values;    // [h_q]; −inf without a sink
  std::vector<RowContent> contents;  // [b · s_q], of all heads

 private:
  // What valid entries that count name, in order.
  std::vector<std::int32_t> counted_slots(IndexedCache& part, bool with_lengths,
                                          std::int64_t request, std::int64_t query_token);
  void fill_queries();
  void fill_part(IndexedCache& part, int which, bool with_lengths);
  void choose_live(IndexedCache& part, int which);
  std::vector<bool> choose_nan(IndexedCache& part, int which, bool with_lengths);
  void fill_cache(IndexedCache& part, int which, bool with_lengths);
  void fill_lengths(IndexedCache& part, int which);
  void fill_lists(IndexedCache& part, int which, bool with_lengths);
  // Calls visit(part, slot) for each token that a query token attends to.
  template <class Visit>
  void for_each_attended(std::int64_t request, std::int64_t query_token, Visit visit);
};

}  // namespace flashmla::support
