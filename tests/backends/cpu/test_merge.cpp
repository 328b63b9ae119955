#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "core/numeric.h"

namespace flashmla::backends::cpu {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float log2_e = std::numbers::log2e_v<float>;
constexpr std::int64_t b = 3, s_q = 2, h_q = 5, v_dim = 512, rows = b * s_q * h_q;

float decode(DType type, const void* data, std::int64_t i) {
  switch (type) {
    case DType::bf16:
      return bf16_to_float(static_cast<const std::uint16_t*>(data)[i]);
    case DType::fp16:
      return fp16_to_float(static_cast<const std::uint16_t*>(data)[i]);
    default:
      return static_cast<const float*>(data)[i];
  }
}

// A part with random results; row i is empty (lse infinite, out NaN) where `empty(i)`.
struct Part {
  DType type;
  std::vector<float> storage;  // room for any type
  std::vector<float> lse;

  template <class Empty>
  Part(DType dtype, std::mt19937& random, Empty empty)
      : type(dtype), storage(rows * v_dim, std::nanf("")), lse(rows) {
    std::normal_distribution<float> normal;
    for (std::int64_t row = 0; row < rows; ++row) {
      const bool nothing = empty(row);
      lse[lse_index(row)] =
          nothing ? (random() % 2 == 0 ? infinity : -infinity) : 4 * normal(random) + 200;
      for (std::int64_t d = 0; d < v_dim; ++d)
        put(row * v_dim + d, nothing ? std::nanf("") : normal(random));
    }
  }

  static std::int64_t lse_index(std::int64_t row) {
    const std::int64_t head = row % h_q;
    const std::int64_t token = row / h_q % s_q;
    return (row / h_q / s_q * h_q + head) * s_q + token;
  }
  void put(std::int64_t i, float value) {
    auto* halves = reinterpret_cast<std::uint16_t*>(storage.data());
    if (type == DType::bf16)
      halves[i] = float_to_bf16(value);
    else if (type == DType::fp16)
      halves[i] = float_to_fp16(value);
    else
      storage[i] = value;
  }
  float out(std::int64_t i) const { return decode(type, storage.data(), i); }
  Outputs outputs() { return {.out = view().out, .lse = view().lse}; }
  PartialResult view() {
    return {{storage.data(), type, {b, s_q, h_q, v_dim}}, {lse.data(), DType::fp32, {b, h_q, s_q}}};
  }
};

struct Expected {
  std::vector<double> out;
  std::vector<double> lse;
};

Expected expected_merge(const std::vector<Part>& parts, const std::vector<float>& sink) {
  Expected expected{std::vector<double>(rows * v_dim), std::vector<double>(rows)};
  for (std::int64_t row = 0; row < rows; ++row) {
    double sum = 0;
    for (const Part& part : parts)
      if (std::isfinite(part.lse[Part::lse_index(row)]))
        sum += std::exp(double{part.lse[Part::lse_index(row)]});
    expected.lse[row] = sum == 0 ? double{infinity} : std::log(sum);
    const double total = sum + (sink.empty() ? 0.0 : std::exp(double{sink[row % h_q]}));
    for (const Part& part : parts)
      if (std::isfinite(part.lse[Part::lse_index(row)]))
        for (std::int64_t d = 0; d < v_dim; ++d)
          expected.out[row * v_dim + d] +=
              std::exp(double{part.lse[Part::lse_index(row)]}) / total * part.out(row * v_dim + d);
  }
  return expected;
}

// `relative`: of what was rounded before the merge.
void expect_close(const Expected& expected, const Part& got, double relative = 0) {
  // Rounding to nearest errs by half a unit in the last place: 2^-8 of a bf16 number (8 significant
  // bits) at most, 2^-11 of an fp16 number (11 bits).
  const double unit = got.type == DType::bf16 ? 0x1p-8 : got.type == DType::fp16 ? 0x1p-11 : 1e-7;
  for (std::int64_t row = 0; row < rows; ++row) {
    const float lse = got.lse[Part::lse_index(row)];
    if (std::isinf(expected.lse[row]))
      ASSERT_EQ(lse, infinity) << "row " << row;
    else
      ASSERT_LE(std::fabs(lse - expected.lse[row]), 1e-6 * expected.lse[row]) << "row " << row;
    for (std::int64_t d = 0; d < v_dim; ++d) {
      const double wanted = expected.out[row * v_dim + d];
      ASSERT_LE(std::fabs(got.out(row * v_dim + d) - wanted),
                1.01 * unit * std::fabs(wanted) + 3 * relative + 1e-7)
          << "row " << row << " dim " << d;
    }
  }
}

class Merge : public ::testing::TestWithParam<DType> {
 protected:
  const unsigned seed_ = std::random_device{}();
  std::mt19937 random_{seed_};
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, ::testing::Message() << "seed " << seed_};

  std::vector<Part> parts(int count) {
    std::vector<Part> made;
    const DType types[] = {GetParam(), DType::fp32, DType::bf16, DType::fp16};
    for (int i = 0; i < count; ++i)
      made.emplace_back(types[i % 4], random_,
                        [&, i](std::int64_t row) { return row == 4 || (row + i) % 4 == 0; });
    return made;
  }
  static std::vector<PartialResult> views(std::vector<Part>& made) {
    std::vector<PartialResult> result;
    for (Part& part : made)
      result.push_back(part.view());
    return result;
  }
};

TEST_P(Merge, WeighsPartsByTheirSums) {
  for (const int count : {1, 2, 3, 7}) {
    std::vector<Part> made = parts(count);
    const Expected expected = expected_merge(made, {});
    Part target(GetParam(), random_, [](std::int64_t) { return true; });
    cpu_backend().merge(views(made), {}, target.outputs(), nullptr);
    expect_close(expected, target);
  }
}

TEST_P(Merge, AppliesTheSinkOnceAndNotToLse) {
  std::vector<Part> made = parts(3);
  std::vector<float> sink = {200, -infinity, infinity, 190, 205};
  const Expected expected = expected_merge(made, sink);
  Part target(GetParam(), random_, [](std::int64_t) { return true; });
  cpu_backend().merge(views(made), {sink.data(), DType::fp32, {h_q}}, target.outputs(), nullptr);
  expect_close(expected, target);
}

TEST_P(Merge, MayWriteOverAPart) {
  std::vector<Part> made = parts(3);
  const Expected expected = expected_merge(made, {});
  cpu_backend().merge(views(made), {}, made[0].outputs(), nullptr);
  expect_close(expected, made[0]);
}

TEST_P(Merge, TakesAndGivesBaseTwo) {
  std::vector<Part> made = parts(3);
  const std::vector<float> sink = {200, -infinity, infinity, 190, 205};
  const Expected expected = expected_merge(made, sink);
  for (Part& part : made)
    for (float& lse : part.lse)
      lse *= log2_e;
  Part target(GetParam(), random_, [](std::int64_t) { return true; });
  Outputs outputs = target.outputs();
  outputs.lse_base = LseBase::two;
  cpu_backend().merge(views(made), {const_cast<float*>(sink.data()), DType::fp32, {h_q}}, outputs,
                      nullptr);
  for (float& lse : target.lse)
    lse /= log2_e;
  // The parts' lse of about 288 were rounded once more: to 2^-16, which is 1.5e-5 of a weight.
  expect_close(expected, target, 4e-5);
}

TEST_P(Merge, GivesEmptyRowsTheLseThatIsAskedFor) {
  std::vector<Part> made = parts(2);
  Part target(GetParam(), random_, [](std::int64_t) { return true; });
  Outputs outputs = target.outputs();
  outputs.empty_lse = EmptyLse::minus_infinity;
  cpu_backend().merge(views(made), {}, outputs, nullptr);
  EXPECT_EQ(target.lse[Part::lse_index(4)], -infinity);
  EXPECT_EQ(target.out(4 * v_dim), 0.0f);
  EXPECT_TRUE(std::isfinite(target.lse[0]));
}

// Parts whose lse are [b, s_q, h_q], a slice of more heads and one value for all; the result is
// written between others.
TEST_P(Merge, TakesAndWritesLseOfAnyStrides) {
  constexpr std::int64_t more = 3 * h_q;
  std::vector<Part> made = parts(3);
  std::ranges::fill(made[2].lse, 201.0f);
  for (std::int64_t row = 0; row < rows; ++row)
    made[2].put(row * v_dim, 1.0f);
  std::vector<PartialResult> given = views(made);
  std::vector<float> transposed(rows), sliced(b * more * s_q, std::nanf(""));
  for (std::int64_t row = 0; row < rows; ++row) {
    transposed[row] = made[0].lse[Part::lse_index(row)];
    const std::int64_t r = row / h_q / s_q;
    sliced[(r * more + h_q + row % h_q) * s_q + row / h_q % s_q] =
        made[1].lse[Part::lse_index(row)];
  }
  float single = 201.0f;
  given[0].lse = {transposed.data(), DType::fp32, {b, h_q, s_q}, {s_q * h_q, 1, h_q}};
  given[1].lse = {sliced.data() + h_q * s_q, DType::fp32, {b, h_q, s_q}, {more * s_q, s_q, 1}};
  given[2].lse = {&single, DType::fp32, {b, h_q, s_q}, {0, 0, 0}};
  for (std::int64_t i = 0; i < rows * v_dim; ++i)
    if (std::isnan(made[2].out(i)))
      made[2].put(i, 0.5f);

  const Expected expected = expected_merge(made, {});
  Part target(GetParam(), random_, [](std::int64_t) { return true; });
  std::vector<float> lse(b * s_q * more, -7.0f);
  cpu_backend().merge(given, {},
                      {.out = target.view().out,
                       .lse = {lse.data() + 1, DType::fp32, {b, h_q, s_q}, {s_q * more, 3, more}}},
                      nullptr);
  for (std::int64_t i = 0; i < b * s_q * more; ++i)
    if (i % 3 == 1)
      target.lse[Part::lse_index(i / 3)] = lse[i];
    else
      EXPECT_EQ(lse[i], -7.0f) << i;
  expect_close(expected, target);
}

TEST_P(Merge, ReadsNoPartThatWeighsNothing) {
  std::vector<Part> made = parts(3);
  for (std::int64_t row = 0; row < rows; ++row) {
    made[0].lse[Part::lse_index(row)] = row % 2 == 0 ? 100.0f : -3e38f;
    made[1].lse[Part::lse_index(row)] = row % 2 == 0 ? 201.0f : 200.0f;
    made[2].lse[Part::lse_index(row)] = 202.0f;
    for (std::int64_t d = 0; d < v_dim; ++d) {
      made[0].put(row * v_dim + d, std::nanf(""));
      made[1].put(row * v_dim + d, 0.25f);
      made[2].put(row * v_dim + d, 0.5f);
    }
  }
  Part target(GetParam(), random_, [](std::int64_t) { return true; });
  cpu_backend().merge(views(made), {}, target.outputs(), nullptr);
  const std::vector<Part> read(made.begin() + 1, made.end());
  expect_close(expected_merge(read, {}), target);
}

std::string name_of_type(const ::testing::TestParamInfo<DType>& type) {
  return std::string(name_of(type.param));
}

INSTANTIATE_TEST_SUITE_P(Types, Merge, ::testing::Values(DType::bf16, DType::fp16, DType::fp32),
                         name_of_type);

}  // namespace
}  // namespace flashmla::backends::cpu
