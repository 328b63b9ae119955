// The online softmax of a warp's rows: when maxima rise, and what that does to sums and weights.
#include "sm90/ops/online_softmax.h"

#include <algorithm>
#include <cmath>

#include "tests/sm90/drawn.h"
#include "tests/sm90/fragments.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

using test::Memory;

constexpr int lanes = 32;
constexpr int rows = 16;  // of a warp
constexpr int tokens = 64;
constexpr int registers = 32;
constexpr float untouched = -7;  // of a factor that nobody has set

// The lane's scores of a block [rows][tokens].
FLASHMLA_DEVICE void load_scores(const float* block, int lane, float (&scores)[registers]) {
  for (int i = 0; i < registers; ++i)
    scores[i] = block[test::row_of_d(lane, i) * tokens + test::column_of_d(lane, i)];
}

// What a lane has of its two rows after a call.
struct Outcome {
  float max[2];
  float sum[2];
  float rounded[2];
  float factor[2];
  int rescales;
};

FLASHMLA_DEVICE RowState state_of(float max) {
  return {.max = {max, max}, .sum = {1, 3}, .rounded = {2, 4}};
}

FLASHMLA_DEVICE Outcome outcome_of(const RowState& state, const float (&factor)[2], bool rescales) {
  return {{state.max[0], state.max[1]},
          {state.sum[0], state.sum[1]},
          {state.rounded[0], state.rounded[1]},
          {factor[0], factor[1]},
          rescales};
}

// Each warp raises the maxima of its rows by a block of its own.
struct Raise {
  const float* blocks;  // [warp][rows][tokens]
  float max;            // before
  float scale;
  Outcome* outcomes;  // [warp][lane]

  FLASHMLA_DEVICE void operator()(int thread) const {
    float scores[registers];
    load_scores(blocks + thread / lanes * rows * tokens, thread % lanes, scores);
    RowState state = state_of(max);
    float factor[2] = {untouched, untouched};
    const bool rescales = raise_max(scores, scale, state, factor);
    outcomes[thread] = outcome_of(state, factor, rescales);
  }
};

constexpr float scale = 0.5f;

std::vector<Outcome> raised(const std::vector<float>& blocks, float max) {
  Memory<float> from(blocks);
  const int threads = static_cast<int>(blocks.size()) / (rows * tokens) * lanes;
  Memory<Outcome> outcomes(threads);
  test::run_threads(threads, Raise{from.data(), max, scale, outcomes.data()});
  return outcomes.read();
}

// A block whose scaled scores are 100 + `rise` in one place and at least 10 below that elsewhere.
std::vector<float> block_with(float rise, int row, int token) {
  std::vector<float> block(rows * tokens, 90 / scale);
  block[row * tokens + token] = (100 + rise) / scale;
  return block;
}

class OnlineSoftmax : public test::DeviceTest {};

TEST_F(OnlineSoftmax, KeepsAMaximumThatWouldRiseByLessThanEight) {
  for (const float rise : {-1.0f, 0.0f, 7.9f, 8.0f})
    for (const Outcome& outcome : raised(block_with(rise, 3, 17), 100)) {
      ASSERT_FALSE(outcome.rescales) << rise;
      for (int r = 0; r < 2; ++r) {
        ASSERT_EQ(outcome.max[r], 100) << rise;
        ASSERT_EQ(outcome.sum[r], r == 0 ? 1 : 3) << rise;
        ASSERT_EQ(outcome.factor[r], untouched) << rise;
      }
    }
}

// Wherever in the row the score stands: the four threads of the quad have to find it.
TEST_F(OnlineSoftmax, RaisesAMaximumThatRisesByMoreThanEight) {
  constexpr float rise = 8.1f;
  const double factor = std::exp2(100.0 - (100 + rise));
  std::vector<float> blocks;
  for (int i = 0; i < tokens; ++i) {
    const std::vector<float> block = block_with(rise, i % rows, i);
    blocks.insert(blocks.end(), block.begin(), block.end());
  }
  const std::vector<Outcome> outcomes = raised(blocks, 100);
  for (int i = 0; i < tokens; ++i)
    for (int lane = 0; lane < lanes; ++lane) {
      const Outcome& outcome = outcomes[i * lanes + lane];
      ASSERT_TRUE(outcome.rescales) << "the whole warp takes part, for token " << i;
      for (int r = 0; r < 2; ++r) {
        const bool rises = lane / 4 + 8 * r == i % rows;
        ASSERT_NEAR(outcome.max[r], rises ? 100 + rise : 100, 1e-4) << "token " << i;
        ASSERT_NEAR(outcome.factor[r], rises ? factor : 1, 1e-6) << "token " << i;
        ASSERT_NEAR(outcome.sum[r], (r == 0 ? 1 : 3) * (rises ? factor : 1), 1e-6);
        ASSERT_NEAR(outcome.rounded[r], (r == 0 ? 2 : 4) * (rises ? factor : 1), 1e-6);
      }
    }
}

TEST_F(OnlineSoftmax, TakesTheFirstMaximaWithoutARescale) {
  std::vector<float> block(rows * tokens);
  for (int i = 0; i < rows * tokens; ++i)
    block[i] = static_cast<float>(-1000 - i / tokens * 100 - (i * 29) % tokens);
  const std::vector<Outcome> outcomes = raised(block, lowest_max);
  for (int lane = 0; lane < lanes; ++lane) {
    EXPECT_FALSE(outcomes[lane].rescales);
    for (int r = 0; r < 2; ++r)
      EXPECT_EQ(outcomes[lane].max[r], scale * (-1000 - (lane / 4 + 8 * r) * 100));
  }
}

TEST_F(OnlineSoftmax, HasNoMaximumWhereNoTokenIsSeen) {
  for (const Outcome& outcome :
       raised(std::vector<float>(rows * tokens, minus_infinity), lowest_max)) {
    EXPECT_FALSE(outcome.rescales);
    EXPECT_EQ(outcome.max[0], lowest_max);
    EXPECT_EQ(outcome.max[1], lowest_max);
  }
}

// Takes over maxima that somebody else has raised.
struct Adopt {
  float before;
  const float* maxima;  // [thread][2]
  Outcome* outcomes;

  FLASHMLA_DEVICE void operator()(int thread) const {
    RowState state = state_of(before);
    float factor[2] = {untouched, untouched};
    const bool rescales = adopt_max(maxima[2 * thread], maxima[2 * thread + 1], state, factor);
    outcomes[thread] = outcome_of(state, factor, rescales);
  }
};

std::vector<Outcome> adopted(float before, float first, float second_of_last_lane) {
  std::vector<float> maxima(2 * lanes, first);
  maxima.back() = second_of_last_lane;
  Memory<float> from(maxima);
  Memory<Outcome> outcomes(lanes);
  test::run_threads(lanes, Adopt{before, from.data(), outcomes.data()});
  return outcomes.read();
}

TEST_F(OnlineSoftmax, AdoptsMaximaThatAnotherWarpHasRaised) {
  for (const Outcome& outcome : adopted(10, 10, 10)) {
    EXPECT_FALSE(outcome.rescales);
    EXPECT_EQ(outcome.factor[0], untouched);
  }
  const std::vector<Outcome> raised_in_one_row = adopted(10, 10, 13);
  for (int lane = 0; lane < lanes; ++lane) {
    const Outcome& outcome = raised_in_one_row[lane];
    EXPECT_TRUE(outcome.rescales);
    EXPECT_EQ(outcome.max[0], 10);
    EXPECT_EQ(outcome.factor[0], 1);
    EXPECT_EQ(outcome.max[1], lane == lanes - 1 ? 13 : 10);
    EXPECT_NEAR(outcome.factor[1], lane == lanes - 1 ? 0.125 : 1, 1e-6);
    EXPECT_NEAR(outcome.sum[1], lane == lanes - 1 ? 3 * 0.125 : 3, 1e-6);
  }
  for (const Outcome& outcome : adopted(lowest_max, 10, 13)) {
    EXPECT_FALSE(outcome.rescales) << "there is nothing to rescale before any token";
    EXPECT_EQ(outcome.max[0], 10);
  }
}

// --- Exchanges within a warp ---

struct Exchanges {
  const float* values;  // [thread]
  float* quad_max;
  float* quad_sum;
  float* warp_max;
  int* any;  // whether any value of the warp is above 50

  FLASHMLA_DEVICE void operator()(int thread) const {
    quad_max[thread] = max_in_quad(values[thread]);
    quad_sum[thread] = sum_in_quad(values[thread]);
    warp_max[thread] = max_in_warp(values[thread]);
    any[thread] = any_in_warp(values[thread] > 50);
  }
};

TEST_F(OnlineSoftmax, ExchangesValuesInQuadsAndWarps) {
  constexpr int warps = 4;  // values of both signs, above 0, below 0, −inf
  std::vector<float> values(warps * lanes);
  for (int i = 0; i < warps * lanes; ++i) {
    const auto drawn = static_cast<float>((i * 37 + 11) % 61);
    values[i] = i / lanes == 0 ? drawn - 30 : i / lanes == 1 ? drawn + 1 : -drawn - 1;
    if (i / lanes == 3)
      values[i] = minus_infinity;
  }
  Memory<float> from(values);
  Memory<float> quad_max(values.size());
  Memory<float> quad_sum(values.size());
  Memory<float> warp_max(values.size());
  Memory<int> any(values.size());
  test::run_threads(warps * lanes, Exchanges{from.data(), quad_max.data(), quad_sum.data(),
                                             warp_max.data(), any.data()});
  const std::vector<float> got_quad_max = quad_max.read();
  const std::vector<float> got_quad_sum = quad_sum.read();
  const std::vector<float> got_warp_max = warp_max.read();
  const std::vector<int> got_any = any.read();
  for (int i = 0; i < warps * lanes; ++i) {
    const auto quad = values.begin() + i / 4 * 4;
    const auto warp = values.begin() + i / lanes * lanes;
    EXPECT_EQ(got_quad_max[i], *std::max_element(quad, quad + 4)) << "thread " << i;
    EXPECT_EQ(got_quad_sum[i], quad[0] + quad[1] + quad[2] + quad[3]) << "thread " << i;
    EXPECT_EQ(got_warp_max[i], *std::max_element(warp, warp + lanes)) << "thread " << i;
    EXPECT_EQ(got_any[i], std::any_of(warp, warp + lanes, [](float v) { return v > 50; }));
  }
}

// --- Weights ---

template <class T>
struct Exponentiate {
  const float* block;
  float max;
  std::uint16_t* weights;  // [rows][tokens], as the tensor cores get them
  float* sums;             // [lane][2]
  float* rounded;          // [lane][2]

  FLASHMLA_DEVICE void operator()(int lane) const {
    float scores[registers];
    load_scores(block, lane, scores);
    RowState state = state_of(max);
    std::uint32_t own[4][4];
    exponentiate<T>(scores, scale, state, own);
    sum_rounded<T>(own, state);
    for (int k = 0; k < 4; ++k)
      for (int i = 0; i < 4; ++i)
        for (int half = 0; half < 2; ++half)
          weights[test::row_of_a(lane, i) * tokens + 16 * k + test::column_of_a(lane, i, half)] =
              static_cast<std::uint16_t>(own[k][i] >> 16 * half);
    for (int r = 0; r < 2; ++r) {
      sums[2 * lane + r] = state.sum[r];
      rounded[2 * lane + r] = state.rounded[r];
    }
  }
};

template <class T>
class Weights : public test::DeviceTest {};
using Types = testing::Types<__nv_bfloat16, __half>;
TYPED_TEST_SUITE(Weights, Types);

TYPED_TEST(Weights, ArePowersOfTwoInTheOrderOfOperandA) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::vector<float> block = test::drawn_floats(rows * tokens, 2.0f, seed);
  block[5 * tokens + 9] = minus_infinity;
  constexpr float max = 1.5f;
  Memory<float> from(block);
  Memory<std::uint16_t> weights(rows * tokens);
  Memory<float> sums(2 * lanes);
  Memory<float> rounded(2 * lanes);
  test::run_threads(lanes, Exponentiate<TypeParam>{from.data(), max, weights.data(), sums.data(),
                                                   rounded.data()});
  const std::vector<float> got = test::decoded<TypeParam>(weights.read());
  constexpr double half_step = std::is_same_v<TypeParam, __nv_bfloat16> ? 0x1.01p-9 : 0x1.01p-12;
  std::vector<double> wanted(rows * tokens);
  for (int i = 0; i < rows * tokens; ++i) {
    wanted[i] = std::exp2(static_cast<double>(block[i]) * scale - max);
    ASSERT_NEAR(got[i], wanted[i], 2 * half_step * wanted[i])
        << "row " << i / tokens << ", token " << i % tokens;
  }
  // A thread adds up its own columns: two of each eight.
  const std::vector<float> got_sums = sums.read();
  const std::vector<float> got_rounded = rounded.read();
  for (int lane = 0; lane < lanes; ++lane)
    for (int r = 0; r < 2; ++r) {
      double sum = r == 0 ? 1 : 3;
      double sum_of_rounded = r == 0 ? 2 : 4;
      for (int i = 0; i < registers; ++i)
        if (i % 4 / 2 == r) {
          const int at = test::row_of_d(lane, i) * tokens + test::column_of_d(lane, i);
          sum += wanted[at];
          sum_of_rounded += got[at];
        }
      ASSERT_NEAR(got_sums[2 * lane + r], sum, 1e-5 * sum) << "lane " << lane << ", row " << r;
      ASSERT_NEAR(got_rounded[2 * lane + r], sum_of_rounded, 1e-6 * sum_of_rounded)
          << "lane " << lane << ", row " << r;
    }
}

// --- A whole row ---

// Attends to `blocks` blocks of one value for each token, as a kernel does.
template <class T>
struct Attend {
  const float* scores;  // [blocks][rows][tokens]
  const float* values;  // [blocks][tokens]
  int blocks;
  float sink;
  float* out;  // [rows]
  float* lse;  // [rows], base 2; where there is no token, 99

  FLASHMLA_DEVICE void operator()(int lane) const {
    RowState state;
    state.reset();
    float sums[4] = {};  // Σ P v of the own columns; registers 0 and 1 of the first row
    for (int b = 0; b < blocks; ++b) {
      float block[registers];
      load_scores(scores + b * rows * tokens, lane, block);
      float factor[2];
      if (raise_max(block, scale, state, factor))
        rescale(sums, factor);
      std::uint32_t weights[4][4];
      exponentiate<T>(block, scale, state, weights);
      sum_rounded<T>(weights, state);
      for (int k = 0; k < 4; ++k)
        for (int i = 0; i < 4; ++i) {
          const float2 pair = ptx::unpack<T>(weights[k][i]);
          const float* const v = values + b * tokens + 16 * k;
          sums[i % 2 * 2] += pair.x * v[test::column_of_a(lane, i, 0)];
          sums[i % 2 * 2 + 1] += pair.y * v[test::column_of_a(lane, i, 1)];
        }
    }
    for (int r = 0; r < 2; ++r) {
      const FinishedRow finished(state.max[r], sum_in_quad(state.sum[r]),
                                 sum_in_quad(state.rounded[r]), sink);
      const float total = sum_in_quad(sums[2 * r] + sums[2 * r + 1]);
      if (lane % 4 == 0) {
        out[lane / 4 + 8 * r] = total * finished.factor;
        lse[lane / 4 + 8 * r] = finished.lse_as(1, 99);
      }
    }
  }
};

template <class T>
class WholeRows : public test::DeviceTest {
 protected:
  // Row r sees the first r / 15 of all tokens: row 0 sees none.
  static void expect_softmax(float sink) {
    const std::uint64_t seed = support::fresh_seed();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    // Of the blocks: some maxima rise by less than 8, some by more, some by much, and one falls.
    const std::vector<float> means{0, 4, 11.9f, 20, 60, 20, 61};
    const int blocks = static_cast<int>(means.size());
    std::vector<float> scores = test::drawn_floats(blocks * rows * tokens, 0, seed);
    for (int b = 0; b < blocks; ++b)
      for (int row = 0; row < rows; ++row)
        for (int token = 0; token < tokens; ++token) {
          float& score = scores[(b * rows + row) * tokens + token];
          const bool seen = b * tokens + token < row * blocks * tokens / 15;
          score = seen ? score / 4 + means[b] / scale : minus_infinity;
        }
    const std::vector<float> values = test::drawn_floats(blocks * tokens, 1, seed + 1);
    Memory<float> scores_there(scores);
    Memory<float> values_there(values);
    Memory<float> out(rows);
    Memory<float> lse(rows);
    test::run_threads(lanes, Attend<T>{scores_there.data(), values_there.data(), blocks, sink,
                                       out.data(), lse.data()});
    expect_rows(scores, values, sink, out.read(), lse.read());
  }

 private:
  static void expect_rows(const std::vector<float>& scores, const std::vector<float>& values,
                          float sink, const std::vector<float>& out,
                          const std::vector<float>& lse) {
    const int blocks = static_cast<int>(values.size()) / tokens;
    EXPECT_EQ(out[0], 0) << "a row that sees no token";
    EXPECT_EQ(lse[0], 99) << "a row that sees no token";
    for (int row = 1; row < rows; ++row) {
      double sum = 0;
      double weighted = 0;
      double magnitude = 0;
      for (int i = 0; i < blocks * tokens; ++i) {
        const double score = scores[(i / tokens * rows + row) * tokens + i % tokens];
        const double weight = std::exp2(score * scale);
        sum += weight;
        weighted += weight * values[i];
        magnitude += weight * std::abs(values[i]);
      }
      const double all = sum + std::exp(static_cast<double>(sink));
      const double step = std::is_same_v<T, __nv_bfloat16> ? 0x1p-8 : 0x1p-11;
      EXPECT_NEAR(out[row], weighted / all, step * magnitude / all) << "row " << row;
      EXPECT_NEAR(lse[row], std::log2(sum), 1e-4) << "row " << row;
    }
  }
};

TYPED_TEST_SUITE(WholeRows, Types);

TYPED_TEST(WholeRows, AreTheSoftmaxInFloat64) {
  this->expect_softmax(minus_infinity);
}

TYPED_TEST(WholeRows, ShareTheirWeightsWithASink) {
  this->expect_softmax(10);
}

}  // namespace

}  // namespace flashmla::sm90::ops
