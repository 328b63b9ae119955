// What running and judging a case found.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "support/compare.h"
#include "support/pooled_error.h"

namespace flashmla::support {

struct CaseResult {
  Errors errors;
  ErrorPools pools;
  std::vector<std::string> faults;  // everything that is wrong, one line each
  std::int64_t rows_checked = 0;    // against the oracle
  bool split = false;               // the schedule cut a request
  // Partial results of each request, of sparse cases of each query token; 0 where it is not cut.
  std::vector<std::int32_t> partials;

  bool passed() const { return faults.empty(); }
  Cut cut_of(std::int64_t request) const;
};

// One row of out.
struct RowIndex {
  std::int64_t request;
  std::int64_t query_token;
  std::int64_t head;

  friend auto operator<=>(const RowIndex&, const RowIndex&) = default;
};

std::string text_of(const RowIndex& row);

// What a row of out has to hold: numbers; 0 with an lse of +inf, where it attends to no token; or
// NaN alone with an lse of NaN, where it attends to a token that holds NaN.
enum class RowContent { numbers, nothing, nan };

// A line for each group of checks that has failures.
void add_faults(const Errors& errors, std::vector<std::string>& faults);

}  // namespace flashmla::support
