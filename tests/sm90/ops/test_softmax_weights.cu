// The weights of a block, and the online softmax of whole rows beside one in float64.
#include <cmath>

#include "sm90/ops/accumulator.h"
#include "tests/sm90/drawn.h"
#include "tests/sm90/on_device.h"
#include "tests/sm90/ops/warp_scores.h"

namespace flashmla::sm90::ops {

namespace {

using test::Memory;

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
    Accumulator<8> sums;  // Σ P v of the thread's columns, even and odd ones apart
    sums.clear();
    for (int b = 0; b < blocks; ++b) {
      float block[registers];
      load_scores(scores + b * rows * tokens, lane, block);
      float factor[2];
      if (raise_max(block, scale, state, factor))
        sums.rescale(factor);
      std::uint32_t weights[4][4];
      exponentiate<T>(block, scale, state, weights);
      sum_rounded<T>(weights, state);
      for (int k = 0; k < 4; ++k)
        for (int i = 0; i < 4; ++i) {
          const float2 pair = ptx::unpack<T>(weights[k][i]);
          const float* const v = values + b * tokens + 16 * k;
          sums.at(i % 2, 0) += pair.x * v[test::column_of_a(lane, i, 0)];
          sums.at(i % 2, 1) += pair.y * v[test::column_of_a(lane, i, 1)];
        }
    }
    for (int r = 0; r < 2; ++r) {
      const FinishedRow finished(state.max[r], sum_in_quad(state.sum[r]),
                                 sum_in_quad(state.rounded[r]), sink);
      const float total = sum_in_quad(sums.at(r, 0) + sums.at(r, 1));
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
