// The requests and tokens that a schedule divides. In dense decoding these are the requests of the
// batch and their cached tokens. In sparse attention every query token is a request of the
// schedule, and its tokens are the entries of its index lists, first those of the main list.
#pragma once

#include <cstdint>

#include "flashmla/problem.h"

namespace flashmla::backends {

struct ScheduleShape {
  std::int64_t requests;  // of the schedule
  std::int64_t rows;      // query rows of each request: query token · h_q + query head
  std::int64_t tokens;    // largest number of tokens of a request

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
