// What it takes to judge the results of a case, dense or sparse: reading them, comparing them with
// the oracle, and finding memory that was written to and should not have been.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/case_result.h"
#include "support/compare.h"
#include "support/guarded_tensor.h"
#include "support/oracle.h"
#include "support/pooled_error.h"

namespace flashmla::support {

// Keeps the key of the choice of rows for the oracle apart from the keys of the tensors.
inline constexpr int row_choice = 100;

// Row `i` of out in the order request, query token, head.
RowIndex row_at(std::int64_t i, std::int64_t query_tokens, std::int64_t query_heads);

// One number for each row, as it came back: lse or max_logits. [b, h_q, s_q], or [s_q, h_q] for the
// one request of sparse prefill.
class Statistic {
 public:
  explicit Statistic(const GuardedTensor& tensor)
      : view_(tensor.view), bytes_(tensor.buffer.download()) {}

  float at(const RowIndex& row) const;

 private:
  TensorView view_;
  std::vector<std::byte> bytes_;
};

// `out` [b, s_q, h_q, d_v] and lse as they came back.
class Results {
 public:
  Results(const GuardedTensor& out, const GuardedTensor& lse)
      : view_(out.view), out_(out.buffer.download()), lse_(lse) {}

  std::vector<float> out(const RowIndex& row) const;
  float lse(const RowIndex& row) const { return lse_.at(row); }
  const std::vector<std::byte>& out_bytes() const { return out_; }

 private:
  TensorView view_;
  std::vector<std::byte> out_;
  Statistic lse_;
};

// The shape that the oracle computes for a case; without a scale it is d_qk^(−1/2).
template <class Case>
OracleShape oracle_shape(const Case& c, DType type) {
  OracleShape shape{.qk_dim = c.qk_dim, .v_dim = c.v_dim, .softmax_scale = 0, .type = type};
  shape.softmax_scale = c.softmax_scale ? static_cast<double>(*c.softmax_scale)
                                        : 1 / std::sqrt(static_cast<double>(c.qk_dim));
  return shape;
}

using RowGroup = std::span<const RowIndex>;

// Runs of rows that are `alike` the first one of the run, at most `most` in each.
std::vector<RowGroup> group_rows(
    const std::vector<RowIndex>& rows, std::size_t most,
    const std::function<bool(const RowIndex& first, const RowIndex& row)>& alike);

// Compares groups of rows with the oracle, several groups at a time, and adds what comes out to the
// result. `judge` compares a group's rows; `none` is a comparison without rows; `request` says
// which entry of CaseResult::partials a group belongs to.
void judge_groups(const std::vector<RowGroup>& groups, DType type, const Comparison& none,
                  const std::function<void(RowGroup, Comparison&, PooledError&)>& judge,
                  const std::function<std::int64_t(const RowIndex&)>& request, CaseResult& result);

// What is wrong with a row, without the oracle; empty when it is sound. No number of a row of
// numbers is larger than `largest`.
std::string unsound(const Results& results, const RowIndex& row, RowContent content, float largest);

// Adds the first fault of `rows` rows. `fault` finds one row's; it is called by several threads.
void judge_every_row(std::int64_t rows, const std::function<std::string(std::int64_t row)>& fault,
                     CaseResult& result);

// Adds a fault for each tensor that is not as it was uploaded.
using NamedFault = std::pair<const char*, const GuardedTensor*>;
void judge_unchanged(std::span<const NamedFault> tensors, CaseResult& result);
// For each tensor whose guards are not.
void judge_guards(std::span<const NamedFault> tensors, CaseResult& result);
// And where memory between the rows of a strided `out` has lost its poison.
void judge_padding(GuardedTensor& out, std::vector<std::byte> now, CaseResult& result);

// Whether a computation ends without an Error. One of code `unsupported` goes to the caller; any
// other is a fault.
bool computed(const std::function<void()>& compute, CaseResult& result);

// Makes the tensors of a case, computes it and judges the results: first every row without the
// oracle, then what `check` does. `content` says what a row has to hold.
template <class Tensors, class Case>
CaseResult run_and_judge(const Case& c, Memory& memory,
                         const std::function<void(Tensors&, CaseResult&)>& compute,
                         float largest_output,
                         const std::function<RowContent(Tensors&, const RowIndex&)>& content,
                         const std::function<void(Tensors&, const Results&, CaseResult&)>& check) {
  CaseResult result;
  Tensors tensors(c, memory);
  if (!computed([&] { compute(tensors, result); }, result))
    return result;
  const Results results(tensors.out, tensors.lse);
  judge_every_row(
      c.rows(),
      [&](std::int64_t i) {
        const RowIndex row = row_at(i, c.query_tokens, c.query_heads);
        return unsound(results, row, content(tensors, row), largest_output);
      },
      result);
  check(tensors, results, result);
  return result;
}

}  // namespace flashmla::support
