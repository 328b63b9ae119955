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

#include "backends/schedule_shape.h"
#include "flashmla/problem.h"
#include "schedule/split_kv.h"

namespace flashmla::backends::cpu {

class Partials {
 public:
  Partials(const Problem& problem, const schedule::SplitParams& params, void* workspace)
      : rows_(ScheduleShape(problem).rows),
        v_dim_(problem.v_dim),
        count_(schedule::max_partials(params, ScheduleShape(problem).tokens)),
        statistics_(problem.kind == AttentionKind::sparse_prefill ? 2 : 1),
        out_(static_cast<float*>(workspace)) {}

  std::size_t bytes() const {
    return static_cast<std::size_t>(count_ * rows_ * (v_dim_ + statistics_)) * sizeof(float);
  }

  std::int64_t count() const { return count_; }
  std::int64_t rows() const { return rows_; }
  bool has_max_logits() const { return statistics_ == 2; }
  float* out(std::int64_t partial, std::int64_t row) const {
    return out_ + (partial * rows_ + row) * v_dim_;
  }
  float& lse(std::int64_t partial, std::int64_t row) const {
    return out_[count_ * rows_ * v_dim_ + partial * rows_ + row];
  }
  float& max_logit(std::int64_t partial, std::int64_t row) const {
    return out_[count_ * rows_ * (v_dim_ + 1) + partial * rows_ + row];
  }

 private:
  std::int64_t rows_;  // of one request
  std::int64_t v_dim_;
  std::int64_t count_;
  std::int64_t statistics_;  // numbers beside out for each row: lse, and max_logit in prefill
  float* out_;               // all out, then all lse, then all max_logit
};

}  // namespace flashmla::backends::cpu
