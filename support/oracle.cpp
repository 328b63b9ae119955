#include "support/oracle.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <type_traits>

#include "support/multiversion.h"
#include "support/numeric.h"

namespace flashmla::support {

namespace {

constexpr std::size_t block_tokens = 64;
constexpr std::size_t group = 4;  // terms that are added to a sum at once

constexpr std::size_t round_up(std::size_t value) {
  return (value + group - 1) / group * group;
}

// Rows of a block, decoded once for all queries. Rows past `count` are zero.
template <class T>
struct Block {
  std::size_t qk_dim;  // rounded up, with zeros
  std::size_t v_dim;
  std::size_t count = 0;  // rows of the block that exist
  std::vector<T> keys;    // [qk_dim][block_tokens]
  std::vector<T> values;  // [block_tokens][v_dim]

  explicit Block(const OracleShape& shape)
      : qk_dim(round_up(static_cast<std::size_t>(shape.qk_dim))),
        v_dim(static_cast<std::size_t>(shape.v_dim)),
        keys(qk_dim * block_tokens),
        values(block_tokens * v_dim) {}

  void fill(const float* rows, std::size_t row_size, std::size_t row_count) {
    count = row_count;
    for (std::size_t d = 0; d < row_size; ++d)
      for (std::size_t j = 0; j < block_tokens; ++j)
        keys[d * block_tokens + j] = j < count ? static_cast<T>(rows[j * row_size + d]) : T{0};
    for (std::size_t j = 0; j < block_tokens; ++j)
      for (std::size_t d = 0; d < v_dim; ++d)
        values[j * v_dim + d] = j < count ? static_cast<T>(rows[j * row_size + d]) : T{0};
  }
};

// sums[i] += Σ_n weights[n] · terms[n][i] for n in groups, i < width; `terms` is [count][width].
template <class T>
[[gnu::always_inline]] inline void add_weighted(const T* weights, const T* terms, std::size_t count,
                                                std::size_t width, T* sums) {
  for (std::size_t n = 0; n < count; n += group) {
    const T w0 = weights[n];
    const T w1 = weights[n + 1];
    const T w2 = weights[n + 2];
    const T w3 = weights[n + 3];
    const T* t = terms + n * width;
    for (std::size_t i = 0; i < width; ++i)
      sums[i] += (w0 * t[i] + w1 * t[i + width]) + (w2 * t[i + 2 * width] + w3 * t[i + 3 * width]);
  }
}

FLASHMLA_SUPPORT_MULTIVERSION
void add_weighted_rows(const double* __restrict weights, const double* __restrict terms,
                       std::size_t count, std::size_t width, double* __restrict sums) {
  add_weighted(weights, terms, count, width, sums);
}

FLASHMLA_SUPPORT_MULTIVERSION
void add_weighted_rows(const float* __restrict weights, const float* __restrict terms,
                       std::size_t count, std::size_t width, float* __restrict sums) {
  add_weighted(weights, terms, count, width, sums);
}

// One query over all blocks, in arithmetic of T. In float, P is rounded to the call's type before
// it meets the values, as the sum of P is not.
template <class T>
class Row {
 public:
  Row(const OracleShape& shape, const OracleQuery& query)
      : type_(shape.type),
        scale_(static_cast<T>(shape.softmax_scale)),
        q_(round_up(query.q.size())),
        out_(static_cast<std::size_t>(shape.v_dim)) {
    std::copy(query.q.begin(), query.q.end(), q_.begin());
  }

  // Sees the block's first `visible` rows.
  void add(const Block<T>& block, std::size_t visible) {
    std::array<T, block_tokens> scores{};
    add_weighted_rows(q_.data(), block.keys.data(), block.qk_dim, block_tokens, scores.data());
    T largest = largest_;
    for (std::size_t j = 0; j < visible; ++j) {
      scores[j] *= scale_;
      largest = std::max(largest, scores[j]);
    }
    note_spread({scores.data(), visible});
    if (largest > largest_)
      rescale(largest);
    std::array<T, block_tokens> weights{};
    for (std::size_t j = 0; j < visible; ++j) {
      weights[j] = std::exp(scores[j] - largest_);
      sum_ += weights[j];
    }
    if constexpr (std::is_same_v<T, float>)
      round_through(type_, weights);
    add_weighted_rows(weights.data(), block.values.data(), block_tokens, block.v_dim, out_.data());
  }

  T largest() const { return largest_; }

  // Standard deviation of the scores.
  T spread() const {
    if (seen_ == 0)
      return 0;
    const T mean = moment_ / static_cast<T>(seen_);
    return std::sqrt(std::max(second_moment_ / static_cast<T>(seen_) - mean * mean, T{0}));
  }

  // NaN where a row that was seen holds NaN.
  T lse() const {
    return sum_ == 0 ? std::numeric_limits<T>::infinity() : largest_ + std::log(sum_);
  }

  // out; all zero where no row was seen.
  std::vector<T> finish(T sink) {
    if (sum_ != 0) {
      const T factor = 1 / (sum_ * (1 + std::exp(sink - lse())));
      for (T& number : out_)
        number *= factor;
      if constexpr (std::is_same_v<T, float>)
        round_through(type_, out_);
    }
    return std::move(out_);
  }

 private:
  void note_spread(std::span<const T> scores) {
    if (seen_ == 0 && !scores.empty())
      first_score_ = scores[0];
    for (const T score : scores) {
      moment_ += score - first_score_;
      second_moment_ += (score - first_score_) * (score - first_score_);
    }
    seen_ += scores.size();
  }

  void rescale(T largest) {
    const T factor = std::exp(largest_ - largest);
    for (T& number : out_)
      number *= factor;
    sum_ *= factor;
    largest_ = largest;
  }

  DType type_;
  T scale_;
  T largest_ = -std::numeric_limits<T>::infinity();  // of the scores so far
  T sum_ = 0;                                        // Σ exp(score − largest_)
  T first_score_ = 0;
  T moment_ = 0;         // Σ (score − first_score_)
  T second_moment_ = 0;  // Σ (score − first_score_)²
  std::size_t seen_ = 0;
  std::vector<T> q_;    // [d_qk], rounded up with zeros
  std::vector<T> out_;  // Σ exp(score − largest_) v
};

}  // namespace

std::vector<Reference> attend(const OracleShape& shape, std::span<const OracleQuery> queries,
                              const RowSource& rows) {
  std::vector<Row<double>> exact;
  std::vector<Row<float>> plain;
  std::int64_t tokens = 0;
  for (const OracleQuery& query : queries) {
    exact.emplace_back(shape, query);
    plain.emplace_back(shape, query);
    tokens = std::max(tokens, query.tokens);
  }
  const auto row_size = static_cast<std::size_t>(shape.qk_dim);
  std::vector<float> decoded(block_tokens * row_size);
  Block<double> exact_block(shape);
  Block<float> plain_block(shape);
  constexpr auto step = static_cast<std::int64_t>(block_tokens);
  for (std::int64_t first = 0; first < tokens; first += step) {
    const std::int64_t count = std::min(step, tokens - first);
    rows(first, count, decoded.data());
    exact_block.fill(decoded.data(), row_size, static_cast<std::size_t>(count));
    plain_block.fill(decoded.data(), row_size, static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < queries.size(); ++i) {
      const std::int64_t visible = std::clamp<std::int64_t>(queries[i].tokens - first, 0, count);
      if (visible == 0)
        continue;
      exact[i].add(exact_block, static_cast<std::size_t>(visible));
      plain[i].add(plain_block, static_cast<std::size_t>(visible));
    }
  }
  std::vector<Reference> references(queries.size());
  for (std::size_t i = 0; i < queries.size(); ++i) {
    references[i].lse = exact[i].lse();
    references[i].max_logit = exact[i].largest();
    references[i].spread = exact[i].spread();
    references[i].out = exact[i].finish(queries[i].sink);
    references[i].plain = plain[i].finish(static_cast<float>(queries[i].sink));
  }
  return references;
}

Squares squares_of(std::span<const float> out, const Reference& reference) {
  Squares squares;
  for (std::size_t d = 0; d < reference.out.size(); ++d) {
    const double expected = reference.out[d];
    squares.error += (out[d] - expected) * (out[d] - expected);
    squares.plain_error += (reference.plain[d] - expected) * (reference.plain[d] - expected);
    squares.size += expected * expected;
  }
  return squares;
}

}  // namespace flashmla::support
