#include "support/pooled_error.h"

#include <cmath>
#include <cstddef>

namespace flashmla::support {

namespace {

double min_normal(DType type) {
  return type == DType::fp16 ? 0x1p-14 : 0x1p-126;
}

}  // namespace

void PooledError::add_row(DType type, std::span<const float> out, const Reference& reference,
                          std::int64_t tokens) {
  if (tokens < min_tokens || !(reference.spread >= min_spread))
    return;
  const auto [error, model, size] = squares_of(out, reference);
  if (std::sqrt(size / static_cast<double>(reference.out.size())) < min_normal(type))
    return;
  squares_ += error / size;
  model_squares_ += model / size;
  ++rows_;
}

void PooledError::add(const PooledError& other) {
  squares_ += other.squares_;
  model_squares_ += other.model_squares_;
  rows_ += other.rows_;
}

void add(const ErrorPools& from, ErrorPools& to) {
  for (const auto& [key, pool] : from)
    to[key].add(pool);
}

double PooledError::error() const {
  return std::sqrt(squares_ / static_cast<double>(rows_));
}

double PooledError::model_error() const {
  return std::sqrt(model_squares_ / static_cast<double>(rows_));
}

}  // namespace flashmla::support
