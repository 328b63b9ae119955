// What a schedule divides. Dense decoding: the requests of the batch with their cached tokens.
// Sparse attention: every query token is a request of the schedule, and its tokens are the entries
// of its index lists, the extra one behind the other.
#pragma once

#include <cstdint>

#include "flashmla/problem.h"

namespace flashmla::backends {

struct ScheduleShape {
  std::int64_t requests;  // of the schedule
  std::int64_t rows;      // query rows (query token · h_q + query head) of each
  std::int64_t tokens;    // of a request, at most

  explicit constexpr ScheduleShape(const Problem& p)
      : requests(p.batch), rows(p.query_heads), tokens(p.topk + p.extra_topk) {
    if (p.kind == AttentionKind::dense_decode) {
      rows *= p.query_tokens;
      tokens = p.max_pages * p.page_size;
    } else {
      requests *= p.query_tokens;
    }
  }
};

}  // namespace flashmla::backends
