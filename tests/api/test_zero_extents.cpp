// Dimensions of size 0 are legal, through C++ and through C. Results are empty, or those of queries
// that see no token, or a cache does not change. Tensors without elements need no memory.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <vector>

#include "as_c.h"
#include "small_call.h"
#include "sparse_call.h"

namespace flashmla::tests {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// Plans, schedules and runs a call through both interfaces. The caller checks the results.
template <class Call>
void run_both(const Call& call, const TensorView& lengths) {
  Plan plan = make_plan(call.problem);
  EXPECT_EQ(plan.problem(), call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule(lengths, plan_memory.workspace());
  run(plan, call.inputs, call.outputs, run_memory.workspace());
  EXPECT_EQ(plan.status(), 0);

  const CPlan c_plan(call.problem);
  EXPECT_EQ(c_plan.schedule(lengths, plan_memory.workspace()), FLASHMLA_OK);
  EXPECT_EQ(c_plan.run(call.inputs, call.outputs, run_memory.workspace()), FLASHMLA_OK)
      << flashmla_last_error();
}

TensorView without_memory(TensorView view, int dimension) {
  view.data = nullptr;
  view.shape[dimension] = 0;
  return view;
}

template <class Call>
void expect_empty(const Call& call) {
  EXPECT_THAT(call.out, testing::Each(0));
  EXPECT_THAT(call.lse, testing::Each(infinity));
}

TEST(ZeroExtents, DenseDecodingOfNoQueryTokens) {
  SmallCall call;
  call.problem.query_tokens = 0;
  call.inputs.q = without_memory(call.inputs.q, 1);
  call.outputs.out = without_memory(call.outputs.out, 1);
  call.outputs.lse = without_memory(call.outputs.lse, 2);
  for (const bool invariant : {false, true}) {
    call.problem.batch_invariant = invariant;
    run_both(call, call.lengths);
  }
  EXPECT_TRUE(call.nothing_written());
}

TEST(ZeroExtents, DenseDecodingOfNoRequests) {
  SmallCall call;
  for (const std::int64_t tokens : {2, 0}) {
    call.problem.batch = 0;
    call.problem.query_tokens = tokens;
    call.inputs.q = {nullptr, DType::bf16, {0, tokens, 4, 576}};
    call.inputs.block_table = without_memory(call.inputs.block_table, 0);
    call.outputs.out = {nullptr, DType::bf16, {0, tokens, 4, 512}};
    call.outputs.lse = {nullptr, DType::fp32, {0, 4, tokens}};
    run_both(call, without_memory(call.lengths, 0));
  }
  EXPECT_TRUE(call.nothing_written());
}

TEST(ZeroExtents, DenseDecodingOfNoPages) {
  SmallCall call;
  call.problem.max_pages = 0;
  call.length_values = {0, 0};
  call.inputs.block_table = without_memory(call.inputs.block_table, 1);
  call.inputs.kv_cache = without_memory(call.inputs.kv_cache, 0);
  run_both(call, call.lengths);
  expect_empty(call);
  // A tensor without elements may have any strides, and nothing may be added to its null pointer.
  call.problem.kv_heads = 2;
  call.inputs.kv_cache = {nullptr, DType::bf16, {0, 16, 2, 576}};
  call.inputs.block_table.strides = {5, 3};
  run_both(call, call.lengths);
  expect_empty(call);
}

TEST(ZeroExtents, SparseAttentionOfNoQueryTokens) {
  SparseCall decode;
  decode.problem.query_tokens = 0;
  decode.inputs.q = without_memory(decode.inputs.q, 1);
  decode.inputs.indices = without_memory(decode.inputs.indices, 1);
  decode.inputs.extra_indices = without_memory(decode.inputs.extra_indices, 1);
  decode.outputs.out = without_memory(decode.outputs.out, 1);
  decode.outputs.lse = without_memory(decode.outputs.lse, 2);
  run_both(decode, {});
  EXPECT_TRUE(decode.nothing_written());

  SparseCall prefill(AttentionKind::sparse_prefill);
  prefill.problem.query_tokens = 0;
  for (TensorView* tensor :
       {&prefill.inputs.q, &prefill.inputs.indices, &prefill.inputs.topk_length,
        &prefill.outputs.out, &prefill.outputs.lse, &prefill.outputs.max_logits})
    *tensor = without_memory(*tensor, 0);
  run_both(prefill, {});
  EXPECT_TRUE(prefill.nothing_written());
}

TEST(ZeroExtents, ListsOfNoEntriesSeeNoToken) {
  SparseCall decode;
  decode.problem.topk = 0;
  decode.inputs.indices = without_memory(decode.inputs.indices, 2);
  decode.problem.extra_topk = 0;
  decode.inputs.extra_indices = without_memory(decode.inputs.extra_indices, 2);
  run_both(decode, {});
  expect_empty(decode);

  SparseCall prefill(AttentionKind::sparse_prefill);
  prefill.problem.topk = 0;
  prefill.inputs.indices = without_memory(prefill.inputs.indices, 2);
  run_both(prefill, {});
  expect_empty(prefill);
  EXPECT_THAT(prefill.max_logits, testing::Each(-infinity));
}

TEST(ZeroExtents, CachesOfNoTokensHaveNone) {
  SparseCall decode;
  decode.inputs.kv_cache = without_memory(decode.inputs.kv_cache, 0);
  decode.inputs.extra_kv_cache = without_memory(decode.inputs.extra_kv_cache, 0);
  run_both(decode, {});
  expect_empty(decode);

  SparseCall prefill(AttentionKind::sparse_prefill);
  prefill.inputs.kv_cache = without_memory(prefill.inputs.kv_cache, 0);
  run_both(prefill, {});
  expect_empty(prefill);
}

// An extra cache with lists of width 0 changes nothing.
TEST(ZeroExtents, ExtraListsOfNoEntriesChangeNothing) {
  SparseCall plain;
  plain.problem.extra_topk = plain.problem.extra_page_size = 0;
  plain.inputs.extra_kv_cache = plain.inputs.extra_indices = plain.inputs.extra_topk_length = {};
  run_both(plain, {});

  SparseCall extra;
  extra.problem.extra_topk = 0;
  extra.inputs.extra_indices = without_memory(extra.inputs.extra_indices, 2);
  run_both(extra, {});
  EXPECT_EQ(extra.out, plain.out);
  EXPECT_EQ(extra.lse, plain.lse);
  EXPECT_TRUE(extra.all_written());
}

// With a main list of width 0, only the extra list counts.
TEST(ZeroExtents, MainListsOfNoEntriesLeaveTheExtraOnes) {
  SparseCall alone;
  alone.problem.topk = alone.problem.extra_topk;
  alone.problem.page_size = alone.problem.extra_page_size;
  alone.inputs.kv_cache = alone.inputs.extra_kv_cache;
  alone.inputs.indices = alone.inputs.extra_indices;
  alone.inputs.topk_length = alone.inputs.extra_topk_length;
  alone.problem.extra_topk = alone.problem.extra_page_size = 0;
  alone.inputs.extra_kv_cache = alone.inputs.extra_indices = alone.inputs.extra_topk_length = {};
  run_both(alone, {});

  SparseCall beside;
  beside.problem.topk = 0;
  beside.inputs.indices = without_memory(beside.inputs.indices, 2);
  run_both(beside, {});
  EXPECT_EQ(beside.out, alone.out);
  EXPECT_EQ(beside.lse, alone.lse);
  EXPECT_TRUE(beside.all_written());
}

flashmla_status status_of(const std::function<flashmla_status(CTensors&)>& call) {
  CTensors tensors;
  return call(tensors);
}

TEST(ZeroExtents, NoSlotsLeaveACacheAsItIs) {
  for (const KvFormat format : {KvFormat::bf16, KvFormat::v32, KvFormat::v4}) {
    const std::int64_t dim = format == KvFormat::v4 ? 512 : 576;
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(2 * 4 * token_bytes(format, dim)),
                                    0x5a);
    const std::vector<std::uint8_t> before = bytes;
    const TensorView cache(bytes.data(), cache_dtype(format),
                           {2, 4, 1, token_elements(format, dim)});
    const TensorView rows(nullptr, DType::bf16, {0, 1, dim});
    const TensorView slots(nullptr, DType::i32, {0});
    append(cache, format, rows, slots);
    gather(cache, format, slots, rows);
    const auto c_format = static_cast<std::int32_t>(format);
    EXPECT_EQ(status_of([&](CTensors& c) {
                return flashmla_append(c(cache), c_format, c(rows), c(slots), nullptr);
              }),
              FLASHMLA_OK);
    EXPECT_EQ(status_of([&](CTensors& c) {
                return flashmla_gather(c(cache), c_format, c(slots), c(rows), nullptr);
              }),
              FLASHMLA_OK);
    EXPECT_EQ(bytes, before);
  }
}

TEST(ZeroExtents, CachesOfNoPagesOrTokensAreConverted) {
  for (const KvFormat format : {KvFormat::fp16, KvFormat::v32, KvFormat::v4})
    for (const auto& [pages, tokens] : {std::pair{0, 4}, std::pair{3, 0}}) {
      const std::int64_t dim = format == KvFormat::v4 ? 512 : 576;
      const DType type = format == KvFormat::fp16 ? DType::fp16 : DType::bf16;
      const TensorView plain(nullptr, type, {pages, tokens, 1, dim});
      const TensorView cache(nullptr, cache_dtype(format),
                             {pages, tokens, 1, token_elements(format, dim)});
      quantise(plain, cache, format);
      dequantise(cache, format, plain);
      const auto c_format = static_cast<std::int32_t>(format);
      EXPECT_EQ(status_of([&](CTensors& c) {
                  return flashmla_quantise(c(plain), c(cache), c_format, nullptr);
                }),
                FLASHMLA_OK);
      EXPECT_EQ(status_of([&](CTensors& c) {
                  return flashmla_dequantise(c(cache), c_format, c(plain), nullptr);
                }),
                FLASHMLA_OK);
    }
}

TEST(ZeroExtents, RowsOfACacheWithoutTokensAreSkippedOrZero) {
  std::vector<std::uint16_t> values(2 * 576, 0x3f80);
  std::vector<std::int32_t> slot_numbers = {0, 1};
  for (const auto& [pages, tokens] : {std::pair{0, 4}, std::pair{3, 0}}) {
    const TensorView cache(nullptr, DType::u8, {pages, tokens, 1, 656});
    const TensorView rows(values.data(), DType::bf16, {2, 1, 576});
    const TensorView slots(slot_numbers.data(), DType::i32, {2});
    append(cache, KvFormat::v32, rows, slots);
    EXPECT_THAT(values, testing::Each(0x3f80));
    gather(cache, KvFormat::v32, slots, rows);
    EXPECT_THAT(values, testing::Each(0));
    std::ranges::fill(values, 0x3f80);
  }
}

TEST(ZeroExtents, CachesOfNoHeadsOrColumnsAreLeftAlone) {
  std::vector<std::int64_t> slot_numbers = {0, 5, 1};
  const TensorView slots(slot_numbers.data(), DType::i64, {3});
  for (const auto& [heads, columns] : {std::pair{0, 576}, std::pair{2, 0}}) {
    TensorView cache(nullptr, DType::bf16, {3, 4, heads, columns});
    TensorView plain = cache;
    TensorView rows(nullptr, DType::bf16, {3, heads, columns});
    for (TensorView* const tensor : {&cache, &plain, &rows})
      tensor->strides = {4096, 1024, 512, 1};
    append(cache, KvFormat::bf16, rows, slots);
    gather(cache, KvFormat::bf16, slots, rows);
    quantise(plain, cache, KvFormat::bf16);
    dequantise(cache, KvFormat::bf16, plain);
    EXPECT_EQ(status_of([&](CTensors& c) {
                return flashmla_gather(c(cache), FLASHMLA_KV_BF16, c(slots), c(rows), nullptr);
              }),
              FLASHMLA_OK);
  }
}

TEST(ZeroExtents, MergesOfNoRowsWriteNothing) {
  for (const int dimension : {0, 1, 2, 3}) {
    std::array<std::int64_t, 4> shape = {2, 3, 4, 8};
    shape[dimension] = 0;
    std::vector<float> lse(24, 1.0f);
    TensorView out(nullptr, DType::bf16, {shape[0], shape[1], shape[2], shape[3]});
    out.strides = {96, 32, 8, 1};
    const TensorView statistics(lse.data(), DType::fp32, {shape[0], shape[2], shape[1]});
    const std::vector<PartialResult> parts = {{out, statistics}, {out, statistics}};
    const Outputs outputs{.out = out, .lse = statistics};
    merge(parts, {}, outputs);
    const bool no_columns = dimension == 3;  // lse is merged all the same: ln 2e
    EXPECT_THAT(lse, testing::Each(testing::FloatNear(no_columns ? 1.6931472f : 1.0f, 1e-6f)));
    EXPECT_EQ(status_of([&](CTensors& c) {
                const flashmla_tensor* const outs[] = {c(out), c(out)};
                const flashmla_tensor* const lses[] = {c(statistics), c(statistics)};
                const flashmla_outputs merged = c(outputs);
                return flashmla_merge(outs, lses, 2, nullptr, &merged, nullptr);
              }),
              FLASHMLA_OK);
  }
}

}  // namespace
}  // namespace flashmla::tests
