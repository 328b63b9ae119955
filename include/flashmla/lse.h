// The form in which log-sum-exps are returned and merged. The base also holds for max_logits, the
// largest scores of prefill.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

namespace flashmla {

// Base of the logarithm: ln Σ exp(score), or log2 Σ exp(score) = log2 e · ln Σ exp(score).
enum class LseBase : std::int32_t { natural, two };

// The lse of a query that sees no token.
enum class EmptyLse : std::int32_t { plus_infinity, minus_infinity };

constexpr std::string_view name_of(LseBase base) {
  switch (base) {
    case LseBase::natural:
      return "natural";
    case LseBase::two:
      return "two";
  }
  return "?";
}

constexpr std::string_view name_of(EmptyLse empty) {
  switch (empty) {
    case EmptyLse::plus_infinity:
      return "plus_infinity";
    case EmptyLse::minus_infinity:
      return "minus_infinity";
  }
  return "?";
}

// The factor that turns a natural logarithm into one of this base: 1 or log2 e.
constexpr double scale_of(LseBase base) {
  constexpr double log2_e = 1.4426950408889634;
  return base == LseBase::two ? log2_e : 1.0;
}

constexpr float value_of(EmptyLse empty) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  return empty == EmptyLse::minus_infinity ? -infinity : infinity;
}

}  // namespace flashmla
