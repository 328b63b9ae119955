// The rule that sees a loss of accuracy which is too small for the bounds of single rows: over many
// rows, the root of the mean square error of out is at most `limit` times that of the same call in
// arithmetic that rounds P once and out once (Reference::plain).
//
// Errors are relative, ‖out − ref‖ / ‖ref‖ for each (request, query token, head), so that rows of
// different size count alike. A backend may weigh its tokens against another reference than their
// maximum, and then other weights are rounded: a few heavy tokens can move the error of one tensor
// by 15 %. Hence many rows.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <span>

#include "flashmla/dtype.h"
#include "support/oracle.h"

namespace flashmla::support {

class PooledError {
 public:
  // Rows that count: with fewer tokens, or with scores that are nearly equal, roundings do not
  // average out. Tokens that a list repeats count once, as their weights are rounded alike.
  static constexpr std::int64_t min_tokens = 1024;
  static constexpr double min_spread = 0.5;  // standard deviation of the scores

  static constexpr double limit = 1.08;
  // More rows than the oracle checks of one case.
  static constexpr std::int64_t min_rows = 200;

  // Leaves out rows that do not count, among them those that a sink has made smaller than the
  // normal numbers of the type. `tokens`: how many different ones the row sees.
  void add_row(DType type, std::span<const float> out, const Reference& reference,
               std::int64_t tokens);
  void add(const PooledError& other);

  std::int64_t rows() const { return rows_; }
  double error() const;  // root of the mean square, relative
  double model_error() const;
  double ratio() const { return error() / model_error(); }

  bool judged() const { return rows_ >= min_rows; }
  bool passed() const { return !judged() || ratio() <= limit; }  // NaN fails

 private:
  double squares_ = 0;  // Σ over rows of ‖out − ref‖² / ‖ref‖²
  double model_squares_ = 0;
  std::int64_t rows_ = 0;
};

// How the schedule cuts a request. A loss at partial results shows best where there are two: the
// more they are, the more their errors average out.
enum class Cut { none, in_two, in_more };

// Rows that are pooled together.
struct PoolKey {
  DType type;
  Cut cut;

  friend auto operator<=>(const PoolKey&, const PoolKey&) = default;
};
using ErrorPools = std::map<PoolKey, PooledError>;

void add(const ErrorPools& from, ErrorPools& to);

}  // namespace flashmla::support
