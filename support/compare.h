// The accuracy that the library promises, as checks. Every check compares an error with a bound;
// NaN is beyond every bound.
//
//   out_row     ‖out − ref‖ ≤ 2 ‖plain − ref‖ + ε ‖ref‖ for each (request, query token, head),
//               where ε is 2⁻⁹ in bf16 and 2⁻¹² in fp16; a row without tokens is exactly 0; a row
//               whose reference is NaN is NaN in every column, and so is its lse
//   lse         |lse − ref| ≤ 1e-4 · max(1, |ref|); a row without tokens has exactly +inf
//   out_tensor  1 − 2 Σ ab / Σ (a² + b²) ≤ 5e-6 over all rows of a call
//   lse_tensor  the same for lse, ≤ 1e-7
//   max_logit   as lse; a row without tokens has exactly −inf (sparse prefill)
//   element     on unit-scale random data: |Δ| < 8e-4 or relative < 2.01/128 for each number of
//               out, |Δ| < 1e-6 or relative < 8/65536 for each lse
//
// Sparse decoding has |Δ| < 1e-3 for the elements of out; sparse prefill 7e-6 for out_tensor and
// relative < 2/65536 for lse and max_logit.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "flashmla/dtype.h"
#include "flashmla/problem.h"
#include "support/oracle.h"

namespace flashmla::support {

// What one kind of check found.
struct GroupError {
  double worst = 0;           // largest error / bound; infinite for NaN and for a wrong exact row
  std::int64_t count = 0;     // checks
  std::int64_t failures = 0;  // checks beyond their bound

  void add(double error, double bound);
  void add(const GroupError& other);
};

struct Errors {
  GroupError out_row;
  GroupError lse;
  GroupError max_logit;
  GroupError out_tensor;
  GroupError lse_tensor;
  GroupError element;

  void add(const Errors& other);
  bool passed() const;
  double worst() const;  // of all checks: error / bound
};

// Compares the rows of one call.
class Comparison {
 public:
  // The element rule is for rows that average over so many tokens: with fewer, rounding alone may
  // exceed its absolute limit. Lists of sparse attention may name a token more than once. Its
  // weights are rounded alike then, so that it counts as one.
  static constexpr std::int64_t exact_weights = 128;
  // Where P is rounded to the type, as tensor cores take it. Rounding to bf16 has a relative
  // standard error of 0.72 · 2⁻⁸/√3 = 1.6e-3, and of n tokens it gives out an error of
  // 1.6e-3 · √(e/n): from 1,024 tokens on the limit of 8e-4 is nine times that. Where lists
  // repeat tokens at random, at least 0.77 times the different ones stand for n.
  static constexpr std::int64_t rounded_weights = 1024;

  // `unit_scale`: q and the cache are unit-scale random numbers and softmax_scale is the default.
  Comparison(DType type, bool unit_scale, AttentionKind kind = AttentionKind::dense_decode,
             std::int64_t element_tokens = exact_weights)
      : type_(type), kind_(kind), unit_scale_(unit_scale), element_tokens_(element_tokens) {}

  // `tokens`: how many different ones the row sees.
  void add_row(std::span<const float> out, float lse, const Reference& reference,
               std::int64_t tokens);
  void add_max_logit(float max_logit, const Reference& reference, std::int64_t tokens);
  void add(const Comparison& other);

  // Adds the checks over the whole tensor to those of the rows.
  Errors finish() const;

  // A tensor of fewer lse values is left to the rule for single values: its sum of squares may be
  // as small as rounding.
  static constexpr std::int64_t lse_tensor_values = 16;

 private:
  struct Sums {
    double product = 0;  // Σ ab
    double squares = 0;  // Σ (a² + b²)
    std::int64_t count = 0;

    void add(double a, double b);
    void add(const Sums& other);
    double difference() const;  // 1 − 2 Σ ab / Σ (a² + b²)
  };

  void add_elements(std::span<const float> out, float lse, const Reference& reference);

  double statistic_limit() const;  // relative, for each lse and max_logit

  DType type_;
  AttentionKind kind_;
  bool unit_scale_;
  std::int64_t element_tokens_;  // of rows that the element rule is for
  Errors errors_;
  Sums out_;
  Sums lse_;
};

}  // namespace flashmla::support
