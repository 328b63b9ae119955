// The oracle: attention of single rows in float64, straight from the definition, and the same in
// plain arithmetic of the call's type, which tells how accurate a right answer can be expected to
// be.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "flashmla/dtype.h"

namespace flashmla::support {

// Writes cached rows first … first + count − 1 of one request and KV head, as [count, d_qk]
// numbers.
using RowSource = std::function<void(std::int64_t first, std::int64_t count, float* rows)>;

struct OracleShape {
  std::int64_t qk_dim = 576;
  std::int64_t v_dim = 512;
  double softmax_scale = 1.0 / 24;
  DType type = DType::bf16;  // of q, the cache and out
};

// One (query token, head).
struct OracleQuery {
  std::span<const float> q;  // [d_qk]
  std::int64_t tokens;       // cached rows that it sees: 0 … tokens − 1
  double sink = -std::numeric_limits<double>::infinity();  // −inf: no sink
};

// What the row must be. A row without tokens has out = 0 and lse = +inf. A row that sees a NaN has
// NaN alone, in lse too, because the NaN is part of a score.
struct Reference {
  std::vector<double> out;   // [d_v]
  double lse;                // natural logarithm; without the sink
  std::vector<float> plain;  // [d_v] `out` in plain arithmetic: fp32, P and out rounded to the type
  double max_logit = -std::numeric_limits<double>::infinity();  // the largest score
  double spread = 0;                                            // standard deviation of the scores
};

// Σ over the numbers of a row: (out − ref)², (plain − ref)², ref².
struct Squares {
  double error = 0;
  double plain_error = 0;
  double size = 0;
};
Squares squares_of(std::span<const float> out, const Reference& reference);

// The rows of one request and KV head; each cached row is asked for once and serves all queries.
//   score_j = softmax_scale ⟨q, k_j⟩
//   lse     = ln Σ exp(score_j)
//   out     = factor · Σ exp(score_j − lse) v_j
// where v_j is the first d_v numbers of k_j and factor = exp(lse) / (exp(lse) + exp(sink)).
std::vector<Reference> attend(const OracleShape& shape, std::span<const OracleQuery> queries,
                              const RowSource& rows);

}  // namespace flashmla::support
