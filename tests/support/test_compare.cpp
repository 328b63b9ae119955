// The accuracy rules. Each rule passes just below its bound, fails just above it, and never passes
// a NaN.
#include "support/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/random.h"

namespace flashmla::support {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t many = 1000;  // tokens: the element rule applies

struct Row {
  Reference reference;
  std::vector<float> out;
  float lse;
};

// A right row: the reference in fp32, with a plain result whose error has the norm `plain_error`.
Row right_row(std::uint64_t seed, double plain_error = 0) {
  Row row;
  row.out.resize(512);
  fill_normal(row.out, seed);
  row.lse = 7.5f;
  row.reference.out.assign(row.out.begin(), row.out.end());
  row.reference.plain = row.out;
  row.reference.plain[3] += static_cast<float>(plain_error);
  row.reference.lse = 7.5;
  return row;
}

double norm(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values)
    squares += value * value;
  return std::sqrt(squares);
}

Errors compare(const Row& row, DType type = DType::bf16, bool unit_scale = false,
               std::int64_t tokens = many) {
  Comparison comparison(type, unit_scale);
  comparison.add_row(row.out, row.lse, row.reference, tokens);
  return comparison.finish();
}

TEST(Compare, RightRowsPass) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const Errors errors = compare(right_row(seed), DType::bf16, true);
  EXPECT_TRUE(errors.passed());
  EXPECT_EQ(errors.out_row.count, 1);
  EXPECT_EQ(errors.lse.count, 1);
  EXPECT_EQ(errors.out_tensor.count, 1);
  EXPECT_EQ(errors.element.count, 513);
  EXPECT_EQ(errors.out_row.worst, 0);
}

// ‖out − ref‖ against 2 · plain error + ε ‖ref‖.
TEST(Compare, OutRowBound) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  for (const DType type : {DType::bf16, DType::fp16})
    for (const double plain_error : {0.0, 0.03125}) {
      const double epsilon = type == DType::bf16 ? std::pow(2, -9) : std::pow(2, -12);
      const Row right = right_row(seed, plain_error);
      const double bound = 2 * plain_error + epsilon * norm(right.reference.out);
      Row below = right;
      below.out[7] += static_cast<float>(0.998 * bound);
      Row above = right;
      above.out[7] += static_cast<float>(1.002 * bound);
      const Errors passing = compare(below, type);
      const Errors failing = compare(above, type);
      EXPECT_EQ(passing.out_row.failures, 0) << name_of(type);
      EXPECT_NEAR(passing.out_row.worst, 0.998, 0.001);
      EXPECT_EQ(failing.out_row.failures, 1) << name_of(type);
      EXPECT_FALSE(failing.passed());
    }
}

TEST(Compare, LseBound) {
  for (const double lse : {-40.0, -0.3, 0.0, 0.9, 5.0, 3000.0}) {
    Row row = right_row(1);
    row.reference.lse = lse;
    const double bound = 1e-4 * std::max(1.0, std::abs(lse));
    for (const double sign : {-1.0, 1.0}) {
      row.lse = static_cast<float>(lse + sign * 0.98 * bound);
      EXPECT_EQ(compare(row).lse.failures, 0) << lse;
      row.lse = static_cast<float>(lse + sign * 1.02 * bound);
      EXPECT_EQ(compare(row).lse.failures, 1) << lse;
    }
  }
}

TEST(Compare, RowsWithoutTokensAreExact) {
  Row row;
  row.out.assign(512, 0.0f);
  row.lse = infinity;
  row.reference = {std::vector<double>(512, 0.0), std::numeric_limits<double>::infinity(),
                   std::vector<float>(512, 0.0f)};
  EXPECT_TRUE(compare(row, DType::bf16, true, 0).passed());
  EXPECT_EQ(compare(row).element.count, 0);
  for (const float lse : {-infinity, 0.0f, 3e38f, nan}) {
    Row wrong = row;
    wrong.lse = lse;
    EXPECT_EQ(compare(wrong).lse.failures, 1) << lse;
  }
  for (const float value : {1e-45f, -1.0f, infinity, nan}) {
    Row wrong = row;
    wrong.out[511] = value;
    EXPECT_EQ(compare(wrong).out_row.failures, 1) << value;
    EXPECT_FALSE(compare(wrong).passed());
  }
}

TEST(Compare, InfiniteLseForARowWithTokensFails) {
  Row row = right_row(1);
  for (const float lse : {infinity, -infinity}) {
    row.lse = lse;
    EXPECT_EQ(compare(row).lse.failures, 1);
  }
}

TEST(Compare, NanFailsEveryRule) {
  for (const bool in_out : {true, false}) {
    Comparison comparison(DType::bf16, true);
    for (int i = 0; i < 20; ++i) {
      Row row = right_row(static_cast<std::uint64_t>(i));
      if (i == 3)
        (in_out ? row.out[100] : row.lse) = nan;
      comparison.add_row(row.out, row.lse, row.reference, many);
    }
    const Errors errors = comparison.finish();
    EXPECT_EQ(errors.out_row.failures, in_out ? 1 : 0);
    EXPECT_EQ(errors.out_tensor.failures, in_out ? 1 : 0);
    EXPECT_EQ(errors.lse.failures, in_out ? 0 : 1);
    EXPECT_EQ(errors.lse_tensor.failures, in_out ? 0 : 1);
    EXPECT_EQ(errors.element.failures, 1);
    EXPECT_TRUE(std::isinf(errors.element.worst));
  }
}

TEST(Compare, NanInTheReferenceFails) {
  Row row = right_row(1);
  row.reference.plain[0] = nan;
  EXPECT_FALSE(compare(row).passed());
  row = right_row(1);
  row.reference.plain[0] = infinity;
  EXPECT_FALSE(compare(row).passed());
  row = right_row(1);
  row.reference.out[0] = nan;
  EXPECT_FALSE(compare(row).passed());
}

// out = (1 + e) ref has 1 − 2ab/(a² + b²) = e² / (1 + (1 + e)²), about e² / 2.
TEST(Compare, TensorBounds) {
  const auto scaled = [](double out_factor, double lse_factor) {
    Comparison comparison(DType::bf16, false);
    for (int i = 0; i < 20; ++i) {
      Row row = right_row(static_cast<std::uint64_t>(i));
      for (float& value : row.out)
        value = static_cast<float>(value * out_factor);
      row.lse = static_cast<float>(row.lse * lse_factor);
      comparison.add_row(row.out, row.lse, row.reference, many);
    }
    return comparison.finish();
  };
  const double out_error = std::sqrt(2 * 5e-6);
  const double lse_error = std::sqrt(2 * 1e-7);
  EXPECT_EQ(scaled(1 + 0.99 * out_error, 1).out_tensor.failures, 0);
  EXPECT_EQ(scaled(1 + 1.01 * out_error, 1).out_tensor.failures, 1);
  EXPECT_EQ(scaled(1, 1 + 0.98 * lse_error).lse_tensor.failures, 0);
  EXPECT_EQ(scaled(1, 1 + 1.02 * lse_error).lse_tensor.failures, 1);
}

TEST(Compare, ElementRule) {
  Row row = right_row(1);
  const auto failures = [&](double value, double error, std::int64_t tokens = many) {
    Row changed = row;
    changed.reference.out[0] = value;
    changed.out[0] = static_cast<float>(value + error);
    return compare(changed, DType::bf16, true, tokens).element.failures;
  };
  EXPECT_EQ(failures(0.0, 7.9e-4), 0);
  EXPECT_EQ(failures(0.0, 8.1e-4), 1);
  EXPECT_EQ(failures(1.0, 2.00 / 128), 0);
  EXPECT_EQ(failures(-1.0, 2.02 / 128), 1);
  EXPECT_EQ(failures(0.0, 8.1e-4, Comparison::exact_weights - 1), 0);
  for (const double lse : {0.001, 10.0}) {
    const double limit = std::max(1e-6, lse * 8 / 65536);
    row.reference.lse = lse;
    row.lse = static_cast<float>(lse + 0.99 * limit);
    EXPECT_EQ(compare(row, DType::bf16, true).element.failures, 0) << lse;
    row.lse = static_cast<float>(lse + 1.01 * limit);
    EXPECT_EQ(compare(row, DType::bf16, true).element.failures, 1) << lse;
    EXPECT_EQ(compare(row, DType::bf16, false).element.count, 0);
  }
}

// The rule holds whatever weight the heaviest token has.
TEST(Compare, ElementRuleOfRoundedWeights) {
  const auto failures = [](double weight, double error, std::int64_t tokens = 1024) {
    Row row = right_row(1);
    row.reference.max_logit = row.reference.lse + std::log(weight);
    row.reference.out[0] = 0;
    row.out[0] = static_cast<float>(error);
    Comparison comparison(DType::bf16, true, AttentionKind::dense_decode,
                          Comparison::rounded_weights);
    comparison.add_row(row.out, row.lse, row.reference, tokens);
    return comparison.finish().element.failures;
  };
  for (const double weight : {1e-3, 1.0 / 64, 4.0 / 64}) {
    EXPECT_EQ(failures(weight, 7.9e-4), 0);
    EXPECT_EQ(failures(weight, 8.1e-4), 1);
    EXPECT_EQ(failures(weight, 8.1e-4, 1023), 0);
  }
}

TEST(Compare, ErrorsAddUp) {
  Row wrong = right_row(2);
  wrong.out[0] += 1;
  Errors total = compare(right_row(1));
  total.add(compare(wrong));
  EXPECT_EQ(total.out_row.count, 2);
  EXPECT_EQ(total.out_row.failures, 1);
  EXPECT_EQ(total.out_row.worst, compare(wrong).out_row.worst);
  EXPECT_FALSE(total.passed());
}

// Where the reference is NaN, every number has to be NaN, and lse too.
TEST(Compare, RowsOfNan) {
  Row row = right_row(fresh_seed());
  row.reference.lse = nan;
  EXPECT_EQ(compare(row).out_row.failures, 1);
  std::ranges::fill(row.out, nan);
  EXPECT_EQ(compare(row).lse.failures, 1);
  row.lse = nan;
  const Errors errors = compare(row);
  EXPECT_TRUE(errors.passed());
  EXPECT_EQ(errors.out_row.count + errors.lse.count, 2);
  row.out[511] = 0;
  EXPECT_EQ(compare(row).out_row.failures, 1);
}

}  // namespace
}  // namespace flashmla::support
