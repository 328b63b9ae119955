// Compares the oracle with cases that can be computed by hand, and with direct sums of the
// definition.
#include "support/oracle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/numeric.h"
#include "support/random.h"

namespace flashmla::support {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// A cache [tokens][qk_dim].
struct Cache {
  OracleShape shape;
  std::vector<float> rows;

  RowSource source() const {
    return [this](std::int64_t first, std::int64_t count, float* out) {
      std::copy_n(rows.begin() + first * shape.qk_dim, count * shape.qk_dim, out);
    };
  }

  Reference attend_one(const std::vector<float>& q, std::int64_t tokens,
                       double sink = -infinity) const {
    const OracleQuery query{q, tokens, sink};
    return attend(shape, {&query, 1}, source())[0];
  }
};

Cache random_cache(std::int64_t tokens, std::uint64_t seed, DType type = DType::bf16) {
  Cache cache;
  cache.shape.type = type;
  cache.rows.resize(static_cast<std::size_t>(tokens * cache.shape.qk_dim));
  fill_normal(cache.rows, key_of(seed, 1));
  round_through(type, cache.rows);
  return cache;
}

std::vector<float> random_query(std::uint64_t seed, DType type = DType::bf16) {
  std::vector<float> q(576);
  fill_normal(q, key_of(seed, 2));
  round_through(type, q);
  return q;
}

double relative_error(const Reference& reference) {
  double error = 0;
  double norm = 0;
  for (std::size_t d = 0; d < reference.out.size(); ++d) {
    error += std::pow(reference.plain[d] - reference.out[d], 2);
    norm += std::pow(reference.out[d], 2);
  }
  return std::sqrt(error / norm);
}

// q = (1, 0), k = (ln 2, 1) and (ln 6, 3), so that the weights are 2/8 and 6/8. v is the whole row.
TEST(Oracle, TwoTokensByHand) {
  const Cache cache{{2, 2, 1.0, DType::fp16}, {std::log(2.0f), 1, std::log(6.0f), 3}};
  const Reference reference = cache.attend_one({1, 0}, 2);
  EXPECT_NEAR(reference.lse, std::log(8.0), 1e-7);
  EXPECT_NEAR(reference.out[1], 0.25 * 1 + 0.75 * 3, 1e-7);
  EXPECT_NEAR(reference.out[0], 0.25 * std::log(2.0) + 0.75 * std::log(6.0), 1e-7);
  // All values of the second component are exact in fp16, except P = 1/3, which is rounded.
  EXPECT_NEAR(reference.plain[1], 2.5, 2.5 * 0x1p-11);
}

TEST(Oracle, ScaleMultipliesScores) {
  const Cache cache{{2, 1, 0.5, DType::bf16}, {1, 0, -1, 0}};
  const Reference reference = cache.attend_one({3, 0}, 2);
  EXPECT_NEAR(reference.lse, std::log(std::exp(1.5) + std::exp(-1.5)), 1e-12);
  EXPECT_NEAR(reference.out[0], std::tanh(1.5), 1e-12);
}

TEST(Oracle, EqualScoresGiveTheMean) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  constexpr std::int64_t tokens = 1000;
  const Cache cache = random_cache(tokens, seed);
  const Reference reference = cache.attend_one(std::vector<float>(576, 0.0f), tokens);
  EXPECT_NEAR(reference.lse, std::log(1000.0), 1e-12);
  for (std::size_t d = 0; d < 512; ++d) {
    double mean = 0;
    for (std::size_t j = 0; j < tokens; ++j)
      mean += static_cast<double>(cache.rows[j * 576 + d]) / tokens;
    ASSERT_NEAR(reference.out[d], mean, 1e-12);
  }
}

// A token whose score is 100 above all others, at any place.
TEST(Oracle, OneDominatingScoreGivesItsRow) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  constexpr std::int64_t tokens = 200;
  for (const std::int64_t place : {0, 63, 64, 130, 199}) {
    Cache cache = random_cache(tokens, seed);
    for (std::int64_t j = 0; j < tokens; ++j)
      cache.rows[j * 576 + 575] = j == place ? 100.0f : 0.0f;
    std::vector<float> q(576, 0.0f);
    q[575] = 24;
    const Reference reference = cache.attend_one(q, tokens);
    EXPECT_NEAR(reference.lse, 100, 1e-12);
    for (std::size_t d = 0; d < 512; ++d) {
      ASSERT_NEAR(reference.out[d], cache.rows[static_cast<std::size_t>(place) * 576 + d], 1e-12);
      ASSERT_EQ(reference.plain[d], cache.rows[static_cast<std::size_t>(place) * 576 + d]);
    }
  }
}

TEST(Oracle, RowsWithoutTokensAreExact) {
  const Cache cache = random_cache(1, fresh_seed());
  for (const double sink : {-infinity, 0.0, infinity}) {
    const Reference reference = cache.attend_one(random_query(3), 0, sink);
    EXPECT_EQ(reference.lse, infinity);
    EXPECT_EQ(reference.out, std::vector<double>(512, 0.0));
    EXPECT_EQ(reference.plain, std::vector<float>(512, 0.0f));
  }
}

TEST(Oracle, SinkScalesOutAndLeavesLse) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  const Cache cache = random_cache(77, seed);
  const std::vector<float> q = random_query(seed);
  const Reference without = cache.attend_one(q, 77);
  const Reference equal = cache.attend_one(q, 77, without.lse);
  const Reference three_times = cache.attend_one(q, 77, without.lse + std::log(3.0));
  const Reference all = cache.attend_one(q, 77, infinity);
  for (std::size_t d = 0; d < 512; ++d) {
    ASSERT_NEAR(equal.out[d], without.out[d] / 2, 1e-14);
    ASSERT_NEAR(three_times.out[d], without.out[d] / 4, 1e-14);
    ASSERT_EQ(all.out[d], 0);
    ASSERT_EQ(all.plain[d], 0);
  }
  EXPECT_EQ(equal.lse, without.lse);
  EXPECT_EQ(all.lse, without.lse);
}

// Compares with the definition: all scores first, then one sum after the other. Queries that see
// different numbers of tokens share the pass over the rows.
TEST(Oracle, AgreesWithTheDefinition) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  constexpr std::int64_t tokens = 333;
  for (const DType type : {DType::bf16, DType::fp16}) {
    const Cache cache = random_cache(tokens, seed, type);
    std::vector<std::vector<float>> q;
    std::vector<OracleQuery> queries;
    for (const int reach : {333, 1, 0, 64, 65, 200})
      q.push_back(random_query(key_of(seed, reach), type));
    std::size_t next = 0;
    for (const int reach : {333, 1, 0, 64, 65, 200})
      queries.push_back({q[next++], reach});
    const std::vector<Reference> references = attend(cache.shape, queries, cache.source());
    for (std::size_t i = 0; i < queries.size(); ++i) {
      if (queries[i].tokens == 0) {
        EXPECT_EQ(references[i].lse, infinity);
        continue;
      }
      double sum = 0;
      std::vector<double> out(512, 0.0);
      for (std::int64_t j = 0; j < queries[i].tokens; ++j) {
        double score = 0;
        for (std::size_t d = 0; d < 576; ++d)
          score += static_cast<double>(q[i][d]) * cache.rows[static_cast<std::size_t>(j) * 576 + d];
        const double weight = std::exp(score / 24);
        sum += weight;
        for (std::size_t d = 0; d < 512; ++d)
          out[d] += weight * cache.rows[static_cast<std::size_t>(j) * 576 + d];
      }
      EXPECT_NEAR(references[i].lse, std::log(sum), 1e-12);
      for (std::size_t d = 0; d < 512; ++d)
        ASSERT_NEAR(references[i].out[d], out[d] / sum, 1e-12) << i;
      // The error of rounding P and out to 8 (fp16: 11) bits, and not much less.
      const double epsilon = type == DType::bf16 ? 0x1p-9 : 0x1p-12;
      EXPECT_LT(relative_error(references[i]), 2 * epsilon);
      if (queries[i].tokens > 1) {
        EXPECT_GT(relative_error(references[i]), epsilon / 8);
      }
    }
  }
}

TEST(Oracle, AsksForEachRowOnceAndForNoneBeyondTheLongestQuery) {
  const Cache cache = random_cache(150, fresh_seed());
  const std::vector<float> q = random_query(1);
  std::vector<int> asked(150, 0);
  const std::vector<OracleQuery> queries{{q, 10}, {q, 140}};
  const auto references =
      attend(cache.shape, queries, [&](std::int64_t first, std::int64_t count, float* rows) {
        for (std::int64_t j = first; j < first + count; ++j)
          ++asked[j];
        cache.source()(first, count, rows);
      });
  for (std::size_t j = 0; j < asked.size(); ++j)
    ASSERT_EQ(asked[j], j < 140 ? 1 : 0) << j;
  EXPECT_EQ(references[0].out, cache.attend_one(q, 10).out);
}

// A NaN in any number of a row that is seen makes everything NaN, wherever in the lists it stands;
// behind the last row that is seen it does nothing.
TEST(Oracle, NanInASeenRow) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  for (const std::int64_t column : {0, 511, 575})
    for (const std::int64_t row : {0, 99, 100}) {
      Cache cache = random_cache(120, seed);
      cache.rows[static_cast<std::size_t>(row * 576 + column)] = std::nanf("");
      const Reference found = cache.attend_one(random_query(seed), 100);
      EXPECT_EQ(std::isnan(found.lse), row < 100);
      for (std::size_t d = 0; d < 512; ++d)
        ASSERT_TRUE(std::isnan(found.out[d]) == (row < 100) &&
                    std::isnan(found.plain[d]) == (row < 100));
    }
}

}  // namespace
}  // namespace flashmla::support
