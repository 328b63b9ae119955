// The partial results of split requests in the run workspace. A partial result belongs to one
// segment of a request. For each row of the request (query token · h_q + query head; in sparse
// attention the query head) it holds
//   out        [d_v] fp32, normalised, in pair-split order (kernel/table.h)
//   lse        fp32, natural logarithm; −inf where the row saw no token, and out is not written
//   then max_logit  fp32, the largest score, only in sparse prefill
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backends/partial_layout.h"
#include "flashmla/problem.h"
#include "schedule/split_kv.h"

namespace flashmla::backends::cpu {

class Partials {
 public:
  Partials(const Problem& problem, const schedule::SplitParams& params, void* workspace)
      : layout_(problem, params, form(problem)),
        v_dim_(problem.v_dim),
        has_max_logits_(problem.kind == AttentionKind::sparse_prefill),
        out_(static_cast<float*>(workspace)),
        lse_(reinterpret_cast<float*>(static_cast<std::byte*>(workspace) + layout_.out_bytes)) {}

  static schedule::PartialBytes form(const Problem& problem) {
    const std::size_t statistics = problem.kind == AttentionKind::sparse_prefill ? 2 : 1;
    return {.element = sizeof(float), .beside = statistics * sizeof(float)};
  }

  std::int64_t count() const { return layout_.count; }
  std::int64_t rows() const { return layout_.rows; }
  bool has_max_logits() const { return has_max_logits_; }
  float* out(std::int64_t partial, std::int64_t row) const {
    return out_ + (partial * rows() + row) * v_dim_;
  }
  float& lse(std::int64_t partial, std::int64_t row) const { return lse_[partial * rows() + row]; }
  float& max_logit(std::int64_t partial, std::int64_t row) const {
    return lse_[(count() + partial) * rows() + row];
  }

 private:
  PartialLayout layout_;
  std::int64_t v_dim_;
  bool has_max_logits_;
  float* out_;
  float* lse_;  // all lse, then all max_logits
};

}  // namespace flashmla::backends::cpu
