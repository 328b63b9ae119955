// The reference maxima of a warp's rows: when they rise, and what that does to sums.
#include "sm90/ops/online_softmax.h"

#include <algorithm>
#include <cmath>

#include "tests/sm90/on_device.h"
#include "tests/sm90/ops/warp_scores.h"

namespace flashmla::sm90::ops {

namespace {

using test::Memory;

constexpr float untouched = -7;  // of a factor that nobody has set

// What a lane has of its two rows after a call.
struct Outcome {
  float max[2];
  float sum[2];
  float rounded[2];
  float factor[2];
  int rescales;
};

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

}  // namespace

}  // namespace flashmla::sm90::ops
