// What the suites of dense and of sparse cases draw alike.
#pragma once

#include <cmath>
#include <cstdint>

#include "support/random.h"

namespace flashmla::support {

template <class Case>
void draw_call_options(Case& c, Random& random) {
  if (random.chance(0.3))
    c.softmax_scale = static_cast<float>(std::exp(-5.3 + 4.1 * random.unit()));  // 0.005 … 0.3
  c.batch_invariant = random.chance(0.25);
  if (random.chance(0.3))
    c.max_workers = static_cast<std::int32_t>(random.pick({1, 2, 3, 5, 8, 16, 64, 132}));
}

// Which cases of a suite there are for the pooled rule alone (pooled_error.h), of all sizes.
constexpr bool is_pooled(std::int64_t index) {
  return index % 25 == 13;
}

// Scores of a pooled case with a spread of 0.6 … 1.6. Two cases of three have rows with much in
// common: out then keeps its size while the error of P, which would hide another one, averages out.
template <class Case>
void draw_pooled_scores(Case& c, std::int64_t index, Random& random) {
  c.common = index / 25 % 3 == 0 ? 0.0f : 0.2f;
  c.softmax_scale.reset();
  if (random.chance(0.5))
    c.softmax_scale =
        static_cast<float>((0.6 + random.unit()) / std::sqrt(static_cast<double>(c.qk_dim)));
}

}  // namespace flashmla::support
