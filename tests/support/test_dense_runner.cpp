// The verdicts of the runner. A right result passes, and each kind of wrong result is found. The
// results come from the oracle, so these tests need no backend.
#include "support/dense_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "flashmla/error.h"
#include "support/numeric.h"
#include "support/oracle.h"
#include "support/random.h"

namespace flashmla::support {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

DenseCase some_case() {
  DenseCase c;
  c.seed = fresh_seed();
  c.lengths = {130, 0, 2, 70};
  c.query_tokens = 3;
  c.query_heads = 4;
  c.kv_heads = 2;
  c.page_size = 16;
  c.causal = true;
  c.sink = true;
  c.out_padding = 8;
  return c;
}

std::uint16_t* out_row(DenseTensors& tensors, std::int64_t r, std::int64_t t, std::int64_t h) {
  return static_cast<std::uint16_t*>(tensors.out.view.data) +
         offset_of(tensors.out.view, {r, t, h, 0});
}

float& lse_of(DenseTensors& tensors, std::int64_t r, std::int64_t t, std::int64_t h) {
  return static_cast<float*>(tensors.lse.view.data)[offset_of(tensors.lse.view, {r, h, t})];
}

// Computes every row with the oracle and stores it in the type of the call.
void compute(DenseTensors& tensors) {
  const DenseCase& c = tensors.dense_case;
  const auto row_size = static_cast<std::size_t>(c.qk_dim);
  for (std::int64_t r = 0; r < c.batch(); ++r)
    for (std::int64_t t = 0; t < c.query_tokens; ++t)
      for (std::int64_t h = 0; h < c.query_heads; ++h) {
        std::vector<float> q(row_size);
        decode(c.type, {tensors.query_row(r, t, h), row_size}, q);
        const OracleQuery query{q, c.visible_tokens(r, t), tensors.sink_values[h]};
        const auto rows = [&](std::int64_t first, std::int64_t count, float* values) {
          for (std::int64_t j = 0; j < count; ++j)
            decode(c.type,
                   {tensors.cached_row(r, first + j, h * c.kv_heads / c.query_heads), row_size},
                   {values + j * c.qk_dim, row_size});
        };
        const Reference reference = attend({}, {&query, 1}, rows)[0];
        const std::vector<float> out(reference.out.begin(), reference.out.end());
        encode(c.type, out, {out_row(tensors, r, t, h), out.size()});
        lse_of(tensors, r, t, h) = static_cast<float>(reference.lse);
      }
}

// The verdict on right results after `spoil` has changed them.
CaseResult verdict(const std::function<void(DenseTensors&)>& spoil) {
  HostMemory memory;
  return run_case(some_case(), memory, [&](DenseTensors& tensors, CaseResult&) {
    compute(tensors);
    spoil(tensors);
  });
}

std::string faults(const std::function<void(DenseTensors&)>& spoil) {
  std::string all;
  for (const std::string& fault : verdict(spoil).faults)
    all += fault + "\n";
  return all;
}

TEST(DenseRunner, RightResultsPass) {
  const CaseResult result = verdict([](DenseTensors&) {});
  EXPECT_THAT(result.faults, IsEmpty());
  EXPECT_EQ(result.rows_checked, 4 * 3 * 4);
  EXPECT_EQ(result.errors.out_row.count, 48);
}

TEST(DenseRunner, FindsWrongNumbers) {
  EXPECT_THAT(faults([](DenseTensors& t) { out_row(t, 0, 1, 2)[5] = float_to_bf16(3); }),
              HasSubstr("out_row: 1 of 48"));
  EXPECT_THAT(faults([](DenseTensors& t) { lse_of(t, 3, 2, 3) += 0.01f; }),
              HasSubstr("lse: 1 of 48"));
  EXPECT_THAT(faults([](DenseTensors& t) { out_row(t, 1, 0, 0)[511] = 1; }),
              HasSubstr("request 1, query token 0, head 0: out holds"));
  EXPECT_THAT(faults([](DenseTensors& t) { lse_of(t, 1, 0, 0) = -INFINITY; }),
              HasSubstr("request 1, query token 0, head 0: lse is"));
}

TEST(DenseRunner, FindsPoisonThatStayed) {
  EXPECT_THAT(faults([](DenseTensors& t) { out_row(t, 3, 2, 3)[0] = 0xffff; }),
              HasSubstr("request 3, query token 2, head 3: out holds"));
  EXPECT_THAT(faults([](DenseTensors& t) { lse_of(t, 0, 0, 0) = NAN; }),
              HasSubstr("request 0, query token 0, head 0: lse is"));
}

TEST(DenseRunner, FindsWritesToForeignMemory) {
  EXPECT_THAT(faults([](DenseTensors& t) { out_row(t, 0, 0, 0)[512] = 0; }),
              HasSubstr("between rows of out"));
  EXPECT_THAT(faults([](DenseTensors& t) { out_row(t, 0, 0, 0)[-1] = 0; }),
              HasSubstr("around out"));
  EXPECT_THAT(faults([](DenseTensors& t) { (&lse_of(t, 3, 2, 3))[1] = 0; }),
              HasSubstr("around lse"));
  EXPECT_THAT(faults([](DenseTensors& t) { *t.q.buffer.data() ^= std::byte{1}; }),
              HasSubstr("q was written to"));
  EXPECT_THAT(faults([](DenseTensors& t) {
                t.kv_cache.buffer.data()[t.kv_cache.buffer.bytes() - 1] ^= std::byte{1};
              }),
              HasSubstr("kv_cache was written to"));
  EXPECT_THAT(faults([](DenseTensors& t) { *t.block_table.buffer.data() ^= std::byte{1}; }),
              HasSubstr("block_table was written to"));
}

TEST(DenseRunner, LibraryErrorsAreFaultsButForMissingBackends) {
  HostMemory memory;
  const auto throwing = [&](ErrorCode code) {
    return run_case(some_case(), memory, [&](DenseTensors&, CaseResult&) {
      throw Error(code, "q", "nothing", "something");
    });
  };
  EXPECT_THAT(throwing(ErrorCode::invalid_argument).faults,
              testing::ElementsAre(HasSubstr("the library threw: q")));
  EXPECT_THROW(throwing(ErrorCode::unsupported), Error);
}

TEST(DenseRunner, ChoosesRowsOfLargeCases) {
  DenseCase c;
  c.seed = fresh_seed();
  SCOPED_TRACE(c.seed);
  c.lengths.assign(40, 500);
  c.lengths[17] = 9000;
  c.lengths[23] = 0;
  c.query_tokens = 5;
  c.query_heads = 64;
  const std::vector<RowIndex> rows = rows_to_check(c);
  EXPECT_GE(static_cast<std::int64_t>(rows.size()), oracle_rows);
  EXPECT_LT(static_cast<std::int64_t>(rows.size()), 2 * oracle_rows);
  EXPECT_EQ(std::set<RowIndex>(rows.begin(), rows.end()).size(), rows.size());
  std::set<std::int64_t> requests;
  for (const RowIndex& row : rows)
    requests.insert(row.request);
  EXPECT_TRUE(requests.contains(0) && requests.contains(17) && requests.contains(23) &&
              requests.contains(39));
  EXPECT_EQ(rows.front(), (RowIndex{0, 0, 0}));
  EXPECT_EQ(rows.back(), (RowIndex{39, 4, 63}));
  EXPECT_EQ(rows_to_check(c), rows);
}

TEST(DenseRunner, ChecksEveryRowOfSmallCases) {
  EXPECT_EQ(rows_to_check(some_case()).size(), 48u);
  DenseCase few_rows;
  few_rows.lengths = {131'072};
  few_rows.query_heads = 64;
  EXPECT_EQ(rows_to_check(few_rows).size(), 64u);
}

}  // namespace
}  // namespace flashmla::support
