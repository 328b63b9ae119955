// Rounding must not bias results whose weights are nearly equal. It must not spoil the small
// elements of a row that is split among workers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "flashmla/decode.h"
#include "support/generate.h"
#include "support/guarded_workspaces.h"
#include "support/numeric.h"
#include "support/random.h"
#include "tests/backends/backend_types.h"

namespace flashmla::backends {
namespace {

using support::DenseCase;

constexpr std::size_t row_numbers = 576;
constexpr std::size_t v_elements = 512;

// One cached row. Its last element is the score of the token, because a query is 0 except for a 1
// in this column.
using Row = std::vector<float>;

template <class Backend>
class Rounding : public BackendTest<Backend> {
 protected:
  using RowOf = std::function<Row(std::int64_t token)>;

  // One request of `tokens` such rows. Returns out of every head, which must be the same for all.
  std::vector<Row> decode(DType type, std::int64_t heads, std::int32_t tokens,
                          const RowOf& row_of) {
    DenseCase dense_case;
    dense_case.seed = 1;
    dense_case.type = type;
    dense_case.lengths = {tokens};
    dense_case.query_heads = heads;
    dense_case.softmax_scale = 1.0f;
    support::DenseTensors tensors(dense_case, *this->memory_);
    for (std::int64_t token = 0; token < tokens; ++token)
      write(type, row_of(token), tensors.cached_row(0, token, 0));
    Row query(row_numbers);
    query.back() = 1;
    for (std::int64_t head = 0; head < heads; ++head)
      write(type, query, tensors.query_row(0, 0, head));
    tensors.kv_cache.buffer.upload();
    tensors.q.buffer.upload();
    Plan plan = make_plan(problem_of(dense_case, this->memory_->device()));
    support::GuardedWorkspaces workspaces(plan, *this->memory_);
    plan.schedule(tensors.lengths.view, workspaces.plan());
    run(plan, tensors.inputs(), tensors.outputs(), workspaces.run());
    this->memory_->wait();
    const std::vector<std::byte> bytes = tensors.out.buffer.download();
    const auto* const bits = reinterpret_cast<const std::uint16_t*>(bytes.data());
    std::vector<Row> out(static_cast<std::size_t>(heads), Row(v_elements));
    for (std::size_t head = 0; head < out.size(); ++head)
      support::decode(type, std::span(bits + head * v_elements, v_elements), out[head]);
    return out;
  }

 private:
  // DenseTensors offers its rows for reading. They lie in its copy on the host.
  static void write(DType type, const Row& row, const std::uint16_t* place) {
    support::encode(type, row, std::span(const_cast<std::uint16_t*>(place), row_numbers));
  }
};

TYPED_TEST_SUITE(Rounding, BackendTypes, NameOfBackend);

// All tokens have the same values, so out must have them too, whatever the weights are. Weights of
// 2^±0.43 are all rounded in the same direction, by 1.2e-3.
TYPED_TEST(Rounding, OfNearlyEqualWeightsBiasesNothing) {
  constexpr float score = 0.296875f;
  Row values(row_numbers);
  support::fill_normal(values, support::fresh_seed());
  for (const DType type : {DType::bf16, DType::fp16})
    for (const std::int64_t heads : {1, 16, 32, 64, 128})
      for (const bool rises : {false, true})
        for (const std::int32_t tokens : {400, 3000}) {
          SCOPED_TRACE(::testing::Message() << name_of(type) << ", " << heads << " heads, scores "
                                            << (rises ? "rise, " : "fall, ") << tokens);
          support::round_through(type, values);
          const std::vector<Row> rows = this->decode(type, heads, tokens, [&](std::int64_t token) {
            Row row = values;
            row.back() = (token < 64) == rises ? 0 : score;
            return row;
          });
          for (const Row& out : rows) {
            double dot = 0;
            double norm = 0;
            for (std::size_t i = 0; i < v_elements; ++i) {
              dot += double{out[i]} * values[i];
              norm += double{values[i]} * values[i];
            }
            ASSERT_NEAR(dot / norm, 1, 3e-4);
          }
        }
}

// A request that is split has one column of large values. The other 511 columns keep their bits, at
// any magnitude of the type.
TYPED_TEST(Rounding, OfPartialResultsKeepsSmallNumbers) {
  constexpr std::int32_t tokens = 3000;
  constexpr std::size_t outlier = 7;
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  for (const std::int64_t heads : {3, 32, 128})
    for (const float magnitude : {1e-30f, 1e-5f, 1.0f, 3e4f, 1e30f}) {
      SCOPED_TRACE(::testing::Message() << heads << " heads, values of " << magnitude);
      std::vector<double> wanted(v_elements);
      double weights = 0;
      const auto row_of = [&](std::int64_t token) {
        Row row(row_numbers);
        support::fill_normal(row, support::key_of(seed, token));
        for (std::size_t i = 0; i < v_elements; ++i)
          row[i] = (row[i] + 1) * magnitude * (i == outlier ? 1000 : 1);
        support::round_through(DType::bf16, row);
        return row;
      };
      for (std::int64_t token = 0; token < tokens; ++token) {
        const Row row = row_of(token);
        const double weight = std::exp(double{row.back()});
        weights += weight;
        for (std::size_t i = 0; i < v_elements; ++i)
          wanted[i] += weight * row[i];
      }
      for (const Row& out : this->decode(DType::bf16, heads, tokens, row_of)) {
        double error = 0;
        double norm = 0;
        for (std::size_t i = 0; i < v_elements; ++i) {
          const double exact = wanted[i] / weights / magnitude;
          const double difference = out[i] / double{magnitude} - exact;
          if (i == outlier) {
            ASSERT_NEAR(difference / exact, 0, 4e-3);
            continue;
          }
          error += difference * difference;
          norm += exact * exact;
        }
        ASSERT_LT(std::sqrt(error / norm), 2.2e-3);
      }
    }
}

}  // namespace
}  // namespace flashmla::backends
