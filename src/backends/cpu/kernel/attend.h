// Attention of the rows of a tile over one block of tokens: scores, online softmax, weighted sum of
// values. The matrix products work on groups that fit the registers: R rows × T tokens of scores,
// then R rows × C vectors of values.
#pragma once

#include "backends/cpu/kernel/table.h"
#include "backends/cpu/kernel/vector.h"

namespace flashmla::backends::cpu::FLASHMLA_CPU_ISA {

// The sizes of these groups, for 32 vector registers (AVX-512) or 16.
inline constexpr bool many_registers = vector_bytes == 64;
inline constexpr int dot_products = many_registers ? 16 : 8;  // R · T is at most this
inline constexpr int dot_rows = dot_products / 2;
inline constexpr int value_rows = 6;
inline constexpr int value_vectors = many_registers ? 4 : 2;

inline constexpr float minus_infinity = -__builtin_inff();

// T: how many tokens are computed at once with `rows` rows.
constexpr int dot_tokens(int rows) {
  int tokens = 2;
  while (tokens * 2 * rows <= dot_products)
    tokens *= 2;
  return tokens;
}

// Computes scores[r][t] for R rows from `row` and dot_tokens(R) tokens from `token`. Tokens behind
// the last valid one read old scratch memory; their scores are masked before they are used.
template <int R>
inline void dot_block(const BlockTask& task, int row, int token) {
  constexpr int T = dot_tokens(R);
  constexpr int padded = (R * T + lanes - 1) / lanes * lanes;
  const float* query = task.query + row * task.qk_dim;
  const float* cache = task.cache + token * task.qk_dim;
  Floats sums[padded] = {};
  for (int k = 0; k < task.qk_dim; k += lanes) {
    Floats key[T];
    for (int t = 0; t < T; ++t)
      key[t] = load(cache + t * task.qk_dim + k);
    for (int r = 0; r < R; ++r) {
      const Floats q = load(query + r * task.qk_dim + k);
      for (int t = 0; t < T; ++t)
        sums[r * T + t] += q * key[t];
    }
  }
  float scores[padded];
  for (int i = 0; i < padded; i += lanes)
    store(scores + i, sums_of_lanes(sums + i));
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t)
      task.scores[(row + r) * max_tile_tokens + token + t] = scores[r * T + t];
}

// Prefetches the rows of the next block while this one is computed. Each call of advance() asks for
// an equal share of their cache lines.
class Prefetch {
 public:
  Prefetch(const BlockTask& task, int calls)
      : rows_(task.upcoming),
        lines_in_row_((task.upcoming_bytes + line_bytes - 1) / line_bytes),
        lines_(task.upcoming_rows * lines_in_row_),
        share_((lines_ + calls - 1) / calls) {}

  void advance() {
    const int end = next_ + share_ < lines_ ? next_ + share_ : lines_;
    for (; next_ < end; ++next_) {
      const auto* row = static_cast<const char*>(rows_[next_ / lines_in_row_]);
      __builtin_prefetch(row + next_ % lines_in_row_ * line_bytes, 0, 2);
    }
  }

 private:
  static constexpr int line_bytes = 64;
  const void* const* rows_;
  int lines_in_row_;
  int lines_;
  int share_;
  int next_ = 0;
};

inline void score_rows(const BlockTask& task) {
  const int groups = (task.rows + dot_rows - 1) / dot_rows;
  Prefetch prefetch(task, groups * 4);
  in_even_groups(0, task.rows, dot_rows, [&](int row, int count) {
    with_constant<dot_rows>(count, [&]<int R>() {
      for (int token = 0; token < task.tokens; token += dot_tokens(R)) {
        if (token % (max_tile_tokens / 4) == 0)
          prefetch.advance();
        dot_block<R>(task, row, token);
      }
    });
  });
}

// Turns the scores of one row into weights 2^(score − maximum); a token that the row does not see
// gets 0. Updates the maximum and the sum of the row. rescale[row] becomes the factor for the sums
// of earlier blocks.
inline void softmax_row(const BlockTask& task, int row) {
  float* scores = task.scores + row * max_tile_tokens;
  const int visible = task.visible[row];
  const int padded = (visible + lanes - 1) / lanes * lanes;
  for (int t = visible; t < padded; ++t)
    scores[t] = minus_infinity;
  if (task.missing != nullptr)
    for (int t = 0; t < visible; ++t)
      if (task.missing[t] != 0)
        scores[t] = minus_infinity;

  Floats highest = broadcast(task.maximum[row]);
  for (int t = 0; t < padded; t += lanes)
    highest = larger(load(scores + t), highest);
  float maximum = highest[0];
  for (int lane = 1; lane < lanes; ++lane)
    maximum = highest[lane] > maximum ? highest[lane] : maximum;

  // Subtracting a maximum of −inf would give NaN.
  const float finite = maximum == minus_infinity ? 0.0f : maximum;
  Floats parts[lanes] = {};
  for (int t = 0; t < padded; t += lanes) {
    const Floats weight = exp2(load(scores + t) - finite);
    store(scores + t, weight);
    parts[0] += weight;
  }
  const float rescale = exp2(broadcast(task.maximum[row] - finite))[0];
  task.rescale[row] = rescale;
  task.sum[row] = task.sum[row] * rescale + sums_of_lanes(parts)[0];
  task.maximum[row] = maximum;
}

// out[r][c] = out[r][c] · rescale[r] + Σ_t weight[r][t] · v[t][c] for R rows from `row` and
// value_vectors vectors from `column`, over the first `tokens` tokens.
template <int R>
inline void value_block(const BlockTask& task, int row, int column, int tokens) {
  Floats sums[R][value_vectors];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < value_vectors; ++c)
      sums[r][c] =
          load(task.out + (row + r) * task.v_dim + column + c * lanes) * task.rescale[row + r];
  const float* weights = task.scores + row * max_tile_tokens;
  const float* values = task.cache + column;
  for (int t = 0; t < tokens; ++t, values += task.qk_dim) {
    Floats value[value_vectors];
    for (int c = 0; c < value_vectors; ++c)
      value[c] = load(values + c * lanes);
    for (int r = 0; r < R; ++r) {
      const Floats weight = broadcast(weights[r * max_tile_tokens + t]);
      for (int c = 0; c < value_vectors; ++c)
        sums[r][c] += weight * value[c];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < value_vectors; ++c)
      store(task.out + (row + r) * task.v_dim + column + c * lanes, sums[r][c]);
}

// Consecutive rows that see the same number of tokens are computed together. A row never reads a
// token that it does not see, because its weight of 0 times a NaN would be NaN.
inline void add_values(const BlockTask& task) {
  for (int begin = 0, end = 0; begin < task.rows; begin = end) {
    const int tokens = task.visible[begin];
    while (end < task.rows && task.visible[end] == tokens)
      ++end;
    if (tokens == 0)
      continue;
    for (int column = 0; column < task.v_dim; column += value_vectors * lanes)
      in_even_groups(begin, end, value_rows, [&](int row, int count) {
        with_constant<value_rows>(count,
                                  [&]<int R>() { value_block<R>(task, row, column, tokens); });
      });
  }
}

inline void attend_block(const BlockTask& task) {
  score_rows(task);
  for (int row = 0; row < task.rows; ++row)
    if (task.visible[row] > 0)
      softmax_row(task, row);
  add_values(task);
}

}  // namespace flashmla::backends::cpu::FLASHMLA_CPU_ISA
