#include "support/compare.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace flashmla::support {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// Whether `a` is near `b` by an absolute or a relative limit, as an error over a bound of 1.
double element_error(double a, double b, double absolute, double relative) {
  const double error = std::abs(a - b);
  return std::min(error / absolute, error / (relative * std::abs(b)));
}

}  // namespace

void GroupError::add(double error, double bound) {
  ++count;
  const bool passed = std::isfinite(bound) && error <= bound;  // false for NaN
  failures += passed ? 0 : 1;
  const double ratio = error == 0 && passed ? 0 : error / bound;
  worst = std::max(worst, std::isnan(ratio) ? infinity : ratio);
}

void GroupError::add(const GroupError& other) {
  worst = std::max(worst, other.worst);
  count += other.count;
  failures += other.failures;
}

void Errors::add(const Errors& other) {
  out_row.add(other.out_row);
  lse.add(other.lse);
  max_logit.add(other.max_logit);
  out_tensor.add(other.out_tensor);
  lse_tensor.add(other.lse_tensor);
  element.add(other.element);
}

bool Errors::passed() const {
  return out_row.failures + lse.failures + max_logit.failures + out_tensor.failures +
             lse_tensor.failures + element.failures ==
         0;
}

double Errors::worst() const {
  return std::max({out_row.worst, lse.worst, max_logit.worst, out_tensor.worst, lse_tensor.worst,
                   element.worst});
}

void Comparison::Sums::add(double a, double b) {
  product += a * b;
  squares += a * a + b * b;
  ++count;
}

void Comparison::Sums::add(const Sums& other) {
  product += other.product;
  squares += other.squares;
  count += other.count;
}

double Comparison::Sums::difference() const {
  return squares == 0 ? 0 : std::max(1 - 2 * product / squares, 0.0);  // NaN stays NaN
}

void Comparison::add_row(std::span<const float> out, float lse, const Reference& reference,
                         std::int64_t tokens) {
  if (std::isnan(reference.lse)) {
    const bool all_nan = std::ranges::all_of(out, [](float number) { return std::isnan(number); });
    errors_.out_row.add(all_nan ? 0 : infinity, 0);
    errors_.lse.add(std::isnan(lse) ? 0 : infinity, 0);
    return;
  }
  const auto [error, plain_error, norm] = squares_of(out, reference);
  for (std::size_t d = 0; d < reference.out.size(); ++d)
    out_.add(out[d], reference.out[d]);
  const double epsilon = type_ == DType::fp16 ? 0x1p-12 : 0x1p-9;
  const bool empty = std::isinf(reference.lse);
  const double bound = empty ? 0 : 2 * std::sqrt(plain_error) + epsilon * std::sqrt(norm);
  errors_.out_row.add(std::sqrt(error), bound);
  if (empty) {
    errors_.lse.add(lse == infinity ? 0 : infinity, 0);
    return;
  }
  errors_.lse.add(std::abs(lse - reference.lse), 1e-4 * std::max(1.0, std::abs(reference.lse)));
  lse_.add(lse, reference.lse);
  if (unit_scale_ && tokens >= element_tokens_)
    add_elements(out, lse, reference);
}

void Comparison::add_elements(std::span<const float> out, float lse, const Reference& reference) {
  const double limit = kind_ == AttentionKind::sparse_decode ? 1e-3 : 8e-4;
  for (std::size_t d = 0; d < reference.out.size(); ++d)
    errors_.element.add(element_error(out[d], reference.out[d], limit, 2.01 / 128), 1);
  errors_.element.add(element_error(lse, reference.lse, 1e-6, statistic_limit()), 1);
}

void Comparison::add_max_logit(float max_logit, const Reference& reference, std::int64_t tokens) {
  if (std::isnan(reference.lse))  // what the largest of scores with NaN is, nothing says
    return;
  if (std::isinf(reference.lse)) {
    errors_.max_logit.add(max_logit == -infinity ? 0 : infinity, 0);
    return;
  }
  const double error = std::abs(max_logit - reference.max_logit);
  errors_.max_logit.add(error, 1e-4 * std::max(1.0, std::abs(reference.max_logit)));
  if (unit_scale_ && tokens >= element_tokens_)
    errors_.element.add(element_error(max_logit, reference.max_logit, 1e-6, statistic_limit()), 1);
}

double Comparison::statistic_limit() const {
  return (kind_ == AttentionKind::sparse_prefill ? 2.0 : 8.0) / 65536;
}

void Comparison::add(const Comparison& other) {
  errors_.add(other.errors_);
  out_.add(other.out_);
  lse_.add(other.lse_);
}

Errors Comparison::finish() const {
  Errors errors = errors_;
  if (out_.count > 0)
    errors.out_tensor.add(out_.difference(), kind_ == AttentionKind::sparse_prefill ? 7e-6 : 5e-6);
  // Where every lse is about 0, as with one token and a scale of 0, the rule is of no meaning.
  const bool nearly_zero = lse_.squares < 1e-9 * static_cast<double>(lse_.count);
  if (lse_.count >= lse_tensor_values && !nearly_zero)
    errors.lse_tensor.add(lse_.difference(), 1e-7);
  return errors;
}

}  // namespace flashmla::support
