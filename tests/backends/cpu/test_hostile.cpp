// Page numbers, indices and lengths of lists, which no check reads, may be any integers. Nothing
// outside the buffers is read or written. AddressSanitizer would see it, because every tensor ends
// where its memory ends.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "flashmla/flashmla.h"
#include "support/memory.h"
#include "support/numeric.h"

namespace flashmla::backends::cpu {
namespace {

constexpr std::int32_t min_value = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t max_value = std::numeric_limits<std::int32_t>::max();

class Hostile : public testing::Test {
 protected:
  void SetUp() override { RecordProperty("seed", static_cast<int>(seed_)); }

  // Most numbers are close to the limits of what exists.
  std::int32_t number(std::int64_t edge) {
    const auto at = static_cast<std::int32_t>(edge);
    const std::int32_t choices[] = {-1,     min_value, max_value, at,           at - 1,
                                    at + 1, -at,       0,         min_value + 1};
    const auto drawn = static_cast<std::uint32_t>(random_());
    return drawn % 3 == 0 ? static_cast<std::int32_t>(random_()) : choices[drawn % 9];
  }
  std::vector<std::int32_t> numbers(std::int64_t count, std::int64_t edge) {
    std::vector<std::int32_t> values(static_cast<std::size_t>(count));
    std::ranges::generate(values, [&] { return number(edge); });
    return values;
  }
  std::vector<std::uint8_t> bytes(std::int64_t count) {
    std::vector<std::uint8_t> values(static_cast<std::size_t>(count));
    std::ranges::generate(values, [&] { return static_cast<std::uint8_t>(random_()); });
    return values;
  }
  std::vector<std::uint16_t> halves(std::int64_t count) {
    std::vector<std::uint16_t> values(static_cast<std::size_t>(count));
    std::ranges::generate(values, [&] {
      return support::float_to_bf16(static_cast<float>(random_() % 256) / 128 - 1);
    });
    return values;
  }

  void run_planned(const Problem& problem, const TensorView& lengths, const Inputs& inputs,
                   const Outputs& outputs) {
    Plan plan = make_plan(problem);
    const auto plan_memory = memory_.allocate(plan.plan_workspace_bytes());
    const auto run_memory = memory_.allocate(plan.run_workspace_bytes());
    plan.schedule(lengths, {plan_memory.get(), plan.plan_workspace_bytes()});
    run(plan, inputs, outputs, {run_memory.get(), plan.run_workspace_bytes()});
  }

  const unsigned seed_ = std::random_device{}();
  std::mt19937 random_{seed_};
  support::HostMemory memory_;
};

TEST_F(Hostile, BlockTables) {
  SCOPED_TRACE(testing::Message() << "seed " << seed_);
  for (int round = 0; round < 30; ++round) {
    Problem problem;
    problem.batch = 3;
    problem.query_heads = 4;
    problem.page_size = round % 2 == 0 ? 16 : 1;
    problem.max_pages = 9;
    auto q = halves(3 * 4 * 576);
    auto cache = halves(5 * problem.page_size * 576);
    auto table = numbers(3 * 9, 5);
    std::vector<std::int32_t> lengths(3, static_cast<std::int32_t>(9 * problem.page_size));
    std::vector<std::uint16_t> out(3 * 4 * 512);
    std::vector<float> lse(3 * 4);
    Inputs inputs;
    inputs.q = {q.data(), DType::bf16, {3, 1, 4, 576}};
    inputs.kv_cache = {cache.data(), DType::bf16, {5, problem.page_size, 1, 576}};
    inputs.block_table = {table.data(), DType::i32, {3, 9}};
    run_planned(
        problem, {lengths.data(), DType::i32, {3}}, inputs,
        {{out.data(), DType::bf16, {3, 1, 4, 512}}, {lse.data(), DType::fp32, {3, 4, 1}}, {}});
  }
}

TEST_F(Hostile, IndicesAndListLengthsOfEveryFormat) {
  SCOPED_TRACE(testing::Message() << "seed " << seed_);
  for (int round = 0; round < 60; ++round) {
    Problem problem;
    problem.kind = AttentionKind::sparse_decode;
    problem.kv_format = std::array{KvFormat::bf16, KvFormat::v32, KvFormat::v4}[round % 3];
    problem.qk_dim = problem.kv_format == KvFormat::v4 ? 512 : 576;
    problem.batch = 2;
    problem.query_tokens = 2;
    problem.query_heads = 3;
    problem.page_size = round % 2 == 0 ? 5 : 1;
    problem.topk = 70;
    problem.extra_topk = 33;
    problem.extra_page_size = 3;
    const std::int64_t token = token_elements(problem.kv_format, problem.qk_dim);
    const DType type = cache_dtype(problem.kv_format);
    const auto element = static_cast<std::int64_t>(size_of(type));
    auto q = halves(2 * 2 * 3 * problem.qk_dim);
    auto cache = bytes(4 * problem.page_size * token * element);
    auto extra = bytes(2 * 3 * token * element);
    auto indices = numbers(2 * 2 * 70, 4 * problem.page_size);
    auto extra_indices = numbers(2 * 2 * 33, 6);
    auto counts = numbers(2, 70);
    auto extra_counts = numbers(2, 33);
    std::vector<std::uint16_t> out(2 * 2 * 3 * 512);
    std::vector<float> lse(2 * 2 * 3);
    Inputs inputs;
    inputs.q = {q.data(), DType::bf16, {2, 2, 3, problem.qk_dim}};
    inputs.kv_cache = {cache.data(), type, {4, problem.page_size, 1, token}};
    inputs.indices = {indices.data(), DType::i32, {2, 2, 70}};
    inputs.topk_length = {counts.data(), DType::i32, {2}};
    inputs.extra_kv_cache = {extra.data(), type, {2, 3, 1, token}};
    inputs.extra_indices = {extra_indices.data(), DType::i32, {2, 2, 33}};
    inputs.extra_topk_length = {extra_counts.data(), DType::i32, {2}};
    run_planned(
        problem, {}, inputs,
        {{out.data(), DType::bf16, {2, 2, 3, 512}}, {lse.data(), DType::fp32, {2, 3, 2}}, {}});
  }
}

TEST_F(Hostile, PrefillIndices) {
  SCOPED_TRACE(testing::Message() << "seed " << seed_);
  for (int round = 0; round < 30; ++round) {
    Problem problem;
    problem.kind = AttentionKind::sparse_prefill;
    problem.batch = 1;
    problem.query_tokens = 4;
    problem.query_heads = 2;
    problem.topk = 50;
    auto q = halves(4 * 2 * 576);
    auto kv = halves(11 * 576);
    auto indices = numbers(4 * 50, 11);
    auto counts = numbers(4, 50);
    std::vector<std::uint16_t> out(4 * 2 * 512);
    std::vector<float> lse(4 * 2);
    std::vector<float> max_logits(4 * 2);
    Inputs inputs;
    inputs.q = {q.data(), DType::bf16, {4, 2, 576}};
    inputs.kv_cache = {kv.data(), DType::bf16, {11, 1, 576}};
    inputs.indices = {indices.data(), DType::i32, {4, 1, 50}};
    inputs.topk_length = {counts.data(), DType::i32, {4}};
    run_planned(problem, {}, inputs,
                {{out.data(), DType::bf16, {4, 2, 512}},
                 {lse.data(), DType::fp32, {4, 2}},
                 {max_logits.data(), DType::fp32, {4, 2}}});
  }
}

TEST_F(Hostile, SlotsOfAppendAndGather) {
  SCOPED_TRACE(testing::Message() << "seed " << seed_);
  for (const KvFormat format : {KvFormat::bf16, KvFormat::v32, KvFormat::v4}) {
    const std::int64_t dim = format == KvFormat::v4 ? 512 : 576;
    const std::int64_t token = token_elements(format, dim);
    auto cache = bytes(3 * 4 * token_bytes(format, dim));
    auto rows = halves(40 * dim);
    auto slots = numbers(40, 12);
    std::vector<std::int64_t> wide(slots.begin(), slots.end());
    wide[0] = std::numeric_limits<std::int64_t>::min();
    wide[1] = std::numeric_limits<std::int64_t>::max();
    const TensorView view{cache.data(), cache_dtype(format), {3, 4, 1, token}};
    const TensorView row_view{rows.data(), DType::bf16, {40, 1, dim}};
    append(view, format, row_view, {wide.data(), DType::i64, {40}});
    gather(view, format, {wide.data(), DType::i64, {40}}, row_view);
    append(view, format, row_view, {slots.data(), DType::i32, {40}});
    gather(view, format, {slots.data(), DType::i32, {40}}, row_view);
  }
}

// Strides of dimensions of size 1 may be any numbers. They must not overflow anything.
TEST_F(Hostile, StridesOfSingleElements) {
  constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  auto cache = halves(1 * 4 * 576);
  auto rows = halves(2 * 576);
  std::vector<std::int64_t> slots{3, 0};
  const TensorView view{cache.data(), DType::bf16, {1, 4, 1, 576}, {huge, 576, huge, 1}};
  const TensorView row_view{rows.data(), DType::bf16, {2, 1, 576}, {576, huge, 1}};
  append(view, KvFormat::bf16, row_view, {slots.data(), DType::i64, {2}});
  const std::vector<std::uint16_t> before = rows;
  gather(view, KvFormat::bf16, {slots.data(), DType::i64, {2}}, row_view);
  EXPECT_EQ(rows, before);
}

}  // namespace
}  // namespace flashmla::backends::cpu
