// The pooled rule: which rows count, where the limit is, which errors it finds and which it passes.
// Every suite has rows to judge and passes.
#include "support/pooled_error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/dense_runner.h"
#include "support/dense_suite.h"
#include "support/numeric.h"
#include "support/random.h"
#include "support/sparse_runner.h"
#include "support/sparse_suite.h"

namespace flashmla::support {
namespace {

constexpr std::int64_t enough = PooledError::min_tokens;

// A row [1, 0, 0, …] · size. The relative error of the model is 0.01, that of `out` is `error`.
struct MadeUpRow {
  Reference reference;
  std::vector<float> out;

  explicit MadeUpRow(double error, float size = 1) : out(64) {
    reference.out.assign(64, 0.0);
    reference.out[0] = size;
    reference.plain.assign(64, 0.0f);
    reference.plain[0] = size;
    reference.plain[5] = 0.01f * size;
    reference.spread = 1;
    out[0] = size;
    out[9] = static_cast<float>(error) * size;
  }
};

PooledError pool_of(const MadeUpRow& row, std::int64_t rows = PooledError::min_rows,
                    std::int64_t tokens = enough, DType type = DType::bf16) {
  PooledError pool;
  for (std::int64_t i = 0; i < rows; ++i)
    pool.add_row(type, row.out, row.reference, tokens);
  return pool;
}

TEST(PooledError, PassesUpToItsLimit) {
  const PooledError below = pool_of(MadeUpRow(0.01079));
  EXPECT_TRUE(below.judged() && below.passed());
  EXPECT_NEAR(below.error(), 0.01079, 1e-8);
  EXPECT_NEAR(below.model_error(), 0.01, 1e-8);
  EXPECT_FALSE(pool_of(MadeUpRow(0.01081)).passed());
  EXPECT_FALSE(pool_of(MadeUpRow(std::numeric_limits<double>::quiet_NaN())).passed());
  EXPECT_FALSE(pool_of(MadeUpRow(std::numeric_limits<double>::infinity())).passed());
}

TEST(PooledError, JudgesManyRowsAlone) {
  const PooledError few = pool_of(MadeUpRow(1), PooledError::min_rows - 1);
  EXPECT_FALSE(few.judged());
  EXPECT_TRUE(few.passed());
  PooledError pool = few;
  pool.add(pool_of(MadeUpRow(1), 1));
  EXPECT_TRUE(pool.judged());
  EXPECT_FALSE(pool.passed());
}

TEST(PooledError, RowsOfAnySizeCountAlike) {
  PooledError pool = pool_of(MadeUpRow(0.02, 1e-3f), 100);
  pool.add(pool_of(MadeUpRow(0, 1e3f), 300));
  EXPECT_NEAR(pool.ratio(), 1, 1e-6);  // √((100 · 2² + 300 · 0) / 400)
}

TEST(PooledError, LeavesOutWhatDoesNotAverageOut) {
  EXPECT_EQ(pool_of(MadeUpRow(1), 1, enough - 1).rows(), 0);
  MadeUpRow flat(1);
  flat.reference.spread = 0.49;
  EXPECT_EQ(pool_of(flat, 1).rows(), 0);
  flat.reference.spread = 0.5;
  EXPECT_EQ(pool_of(flat, 1).rows(), 1);
  EXPECT_EQ(pool_of(MadeUpRow(1, 0), 1).rows(), 0);
  const float small = 8 * 0.9f * 0x1p-14f;  // mean square root of 64 numbers below 2⁻¹⁴
  EXPECT_EQ(pool_of(MadeUpRow(1, small), 1, enough, DType::fp16).rows(), 0);
  EXPECT_EQ(pool_of(MadeUpRow(1, small), 1).rows(), 1);
  EXPECT_EQ(pool_of(MadeUpRow(1, 2 * small), 1, enough, DType::fp16).rows(), 1);
}

// How an emulated backend differs from exact arithmetic. In each of its parts the reference maximum
// rises only where a score exceeds it by `lag`, in base 2.
struct Backend {
  int parts = 3;
  double lag = 0;
  bool rounds_partials = false;  // partial results are rounded to the type
};

constexpr std::size_t dim = 64;  // d_qk and d_v
constexpr std::size_t block = 64;

// The result of tokens first … end − 1, not normalised: out, and behind it the sum and the maximum.
std::vector<float> part_of(const Backend& backend, DType type, const std::vector<float>& scores,
                           const std::vector<float>& rows, std::size_t first, std::size_t end) {
  std::vector<float> out(dim, 0.0f);
  float sum = 0;
  float maximum = -std::numeric_limits<float>::infinity();
  for (std::size_t begin = first; begin < end; begin += block) {
    const std::size_t stop = std::min(end, begin + block);
    const float highest = *std::max_element(scores.begin() + static_cast<std::ptrdiff_t>(begin),
                                            scores.begin() + static_cast<std::ptrdiff_t>(stop));
    if (highest > maximum + static_cast<float>(backend.lag * std::log(2.0))) {
      const float factor = std::exp(maximum - highest);
      for (float& number : out)
        number *= factor;
      sum *= factor;
      maximum = highest;
    }
    for (std::size_t j = begin; j < stop; ++j) {
      const float weight = std::exp(scores[j] - maximum);
      sum += weight;
      float rounded = weight;
      round_through(type, {&rounded, 1});
      for (std::size_t d = 0; d < dim; ++d)
        out[d] += rounded * rows[j * dim + d];
    }
  }
  out.push_back(sum);
  out.push_back(maximum);
  return out;
}

std::vector<float> attend_by(const Backend& backend, DType type, const std::vector<float>& scores,
                             const std::vector<float>& rows) {
  std::vector<std::vector<float>> parts;
  float maximum = -std::numeric_limits<float>::infinity();
  const std::size_t tokens = scores.size();
  const auto count = static_cast<std::size_t>(backend.parts);
  for (std::size_t p = 0; p < count; ++p) {
    parts.push_back(
        part_of(backend, type, scores, rows, tokens * p / count, tokens * (p + 1) / count));
    maximum = std::max(maximum, parts.back()[dim + 1]);
  }
  std::vector<float> out(dim, 0.0f);
  float total = 0;
  for (std::vector<float>& part : parts) {
    const float weight = std::exp(part[dim + 1] - maximum) * part[dim];
    total += weight;
    const std::span<float> elements(part.data(), dim);
    for (float& element : elements)
      element /= part[dim];
    if (backend.rounds_partials)
      round_through(type, elements);
    for (std::size_t d = 0; d < dim; ++d)
      out[d] += weight * elements[d];
  }
  for (float& number : out)
    number /= total;
  round_through(type, out);
  return out;
}

// Rows of 1,024 tokens, whose scores have a standard deviation of about 0.8 to `max_spread`.
PooledError pool_of(const Backend& backend, double max_spread, std::uint64_t seed,
                    DType type = DType::bf16) {
  PooledError pool;
  Random random(seed);
  for (std::int64_t i = 0; i < PooledError::min_rows + 20; ++i) {
    constexpr auto tokens = static_cast<std::size_t>(enough);
    OracleShape shape;
    shape.qk_dim = shape.v_dim = dim;
    shape.type = type;
    shape.softmax_scale = (0.8 + (max_spread - 0.8) * random.unit()) / std::sqrt(double{dim});
    std::vector<float> q(dim);
    std::vector<float> rows(tokens * dim);
    fill_normal(q, random.next());
    fill_normal(rows, random.next());
    round_through(type, q);
    round_through(type, rows);
    std::vector<float> scores(tokens);
    for (std::size_t j = 0; j < tokens; ++j) {
      double product = 0;
      for (std::size_t d = 0; d < dim; ++d)
        product += double{q[d]} * double{rows[j * dim + d]};
      scores[j] = static_cast<float>(product * shape.softmax_scale);
    }
    const OracleQuery query{q, static_cast<std::int64_t>(tokens)};
    const auto reference =
        attend(shape, {&query, 1}, [&](std::int64_t first, std::int64_t count, float* values) {
          std::copy_n(rows.data() + first * static_cast<std::int64_t>(dim),
                      count * static_cast<std::int64_t>(dim), values);
        });
    pool.add_row(type, attend_by(backend, type, scores, rows), reference[0],
                 static_cast<std::int64_t>(tokens));
  }
  return pool;
}

TEST(PooledError, LetsRightBackendsThrough) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const auto expect_near_one = [&](const Backend& backend, DType type = DType::bf16) {
    const PooledError pool = pool_of(backend, 1.6, seed, type);
    ASSERT_TRUE(pool.judged());
    EXPECT_NEAR(pool.ratio(), 1, 0.04) << backend.parts << " parts, lag " << backend.lag;
  };
  expect_near_one({.parts = 1, .lag = 8});
  expect_near_one({.parts = 3, .lag = 0});
  expect_near_one({.parts = 8, .lag = 8}, DType::fp16);
}

TEST(PooledError, SeesPartialResultsInTheType) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  for (const double lag : {0.0, 8.0}) {
    const Backend backend{.parts = 2, .lag = lag, .rounds_partials = true};
    EXPECT_FALSE(pool_of(backend, 1.2, seed).passed());
    EXPECT_FALSE(pool_of(backend, 4, seed).passed());
    EXPECT_FALSE(pool_of(backend, 1.2, seed, DType::fp16).passed());
  }
}

// The promise holds for any seed of a suite, even without the cases that it draws freely.
TEST(PooledError, EverySuiteHasRowsToJudge) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const auto rows_of = [](const auto& suite, DType type, auto sees) {
    std::int64_t rows = 0;
    for (std::int64_t i = 0; i < suite.cases(); ++i)
      for (const auto c = suite.draw(i); const RowIndex& row : rows_to_check(c))
        rows += sees(c, row, type) && (c.max_workers > 1 || c.batch_invariant) ? 1 : 0;
    return rows;
  };
  const auto dense = [](const DenseCase& c, const RowIndex& row, DType type) {
    return c.type == type && c.visible_tokens(row.request, row.query_token) >= enough;
  };
  const auto sparse = [](const SparseCase& c, const RowIndex&, DType) {
    return !c.topk_length && !c.empty_lists && c.invalid_share == 0 &&
           c.topk + c.extra_topk >= enough;
  };
  for (const SuiteSize size : {SuiteSize::tiny, SuiteSize::shorter, SuiteSize::full}) {
    for (const DType type : {DType::bf16, DType::fp16})
      EXPECT_GE(rows_of(DenseSuite(size, seed), type, dense), PooledError::min_rows);
    for (const AttentionKind kind : {AttentionKind::sparse_decode, AttentionKind::sparse_prefill})
      EXPECT_GE(rows_of(SparseSuite(kind, size, seed), DType::bf16, sparse), PooledError::min_rows);
  }
}

// Runs the cases of a suite of size tiny that exist for the rule.
template <class Suite>
ErrorPools pools_of(const Suite& suite) {
  HostMemory memory;
  ErrorPools pools;
  for (std::int64_t i = 0; i < suite.cases(); ++i) {
    const auto c = suite.draw(i);
    if (i % 25 != 13)
      continue;
    const CaseResult result = run_case(c, memory);
    EXPECT_TRUE(result.passed()) << describe(c) << ": " << result.faults.at(0);
    add(result.pools, pools);
  }
  return pools;
}

void expect_good(const ErrorPools& pools, const PoolKey& key) {
  ASSERT_TRUE(pools.contains(key));
  const PooledError& pool = pools.at(key);
  EXPECT_TRUE(pool.judged()) << pool.rows();
  EXPECT_TRUE(pool.passed()) << pool.ratio();
}

TEST(PooledError, SplitRequestsOfTheCpuBackendAreAsAccurate) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const ErrorPools dense = pools_of(DenseSuite(SuiteSize::tiny, seed));
  expect_good(dense, {DType::bf16, Cut::in_two});
  expect_good(dense, {DType::fp16, Cut::in_two});
  for (const AttentionKind kind : {AttentionKind::sparse_decode, AttentionKind::sparse_prefill})
    expect_good(pools_of(SparseSuite(kind, SuiteSize::tiny, seed)), {DType::bf16, Cut::in_two});
}

}  // namespace
}  // namespace flashmla::support
