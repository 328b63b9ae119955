#include "tools/bench/workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "flashmla/kv_cache.h"
#include "support/numeric.h"
#include "support/oracle.h"
#include "tools/bench/call.h"
#include "tools/bench/suites.h"
#include "tools/command.h"

namespace flashmla::tools {
namespace {

BenchOptions options_of(std::string_view suite, const std::string& format,
                        std::vector<std::string> shapes) {
  BenchOptions options;
  options.suite = suite;
  options.format = format;
  options.shapes = std::move(shapes);
  options.seed = 7;
  return options;
}

// The slots of the cached tokens that a query token attends to, read from the workload's places.
std::vector<std::int64_t> slots_of(const Workload& workload, std::int64_t request,
                                   std::int64_t query_token) {
  const Problem& p = workload.problem();
  const std::vector<std::int32_t> places = workload.places();
  std::vector<std::int64_t> slots;
  if (p.kind != AttentionKind::dense_decode) {
    const auto list = places.begin() + (request * p.query_tokens + query_token) * p.topk;
    slots.assign(list, list + p.topk);
    return slots;
  }
  const std::int64_t hidden = p.causal ? p.query_tokens - 1 - query_token : 0;
  const std::int64_t tokens = workload.lengths()[request] - hidden;
  for (std::int64_t i = 0; i < tokens; ++i)
    slots.push_back(std::int64_t{places[request * p.max_pages + i / p.page_size]} * p.page_size +
                    i % p.page_size);
  return slots;
}

// The cached rows of these slots as numbers, [n, d_qk].
std::vector<float> rows_of(const Workload& workload, std::byte* cache,
                           std::vector<std::int64_t> slots) {
  const Problem& p = workload.problem();
  const std::int64_t count = std::ssize(slots);
  std::vector<std::uint16_t> bits(slots.size() * static_cast<std::size_t>(p.qk_dim));
  gather({cache,
          cache_dtype(p.kv_format),
          {workload.num_pages(), p.page_size, 1, token_elements(p.kv_format, p.qk_dim)}},
         p.kv_format, {slots.data(), DType::i64, {count}},
         {bits.data(), p.query_type, {count, 1, p.qk_dim}});
  std::vector<float> rows(bits.size());
  support::decode(p.query_type, bits, rows);
  return rows;
}

// What a call leaves for the last head of a query token is what the oracle makes of the rows.
void expect_right(const Workload& workload, const CallMemory& memory, std::int64_t request,
                  std::int64_t query_token) {
  const Problem& p = workload.problem();
  const std::int64_t head = p.query_heads - 1;
  const std::int64_t row = (request * p.query_tokens + query_token) * p.query_heads + head;
  std::vector<float> q(static_cast<std::size_t>(p.qk_dim));
  support::decode(
      p.query_type,
      {reinterpret_cast<const std::uint16_t*>(memory.queries) + row * p.qk_dim, q.size()}, q);
  const std::vector<std::int64_t> slots = slots_of(workload, request, query_token);
  const std::vector<float> rows = rows_of(workload, memory.cache, slots);
  const std::vector<support::OracleQuery> queries{{.q = q, .tokens = std::ssize(slots)}};
  const support::Reference wanted =
      support::attend({.qk_dim = p.qk_dim,
                       .v_dim = p.v_dim,
                       .softmax_scale = 1 / std::sqrt(static_cast<double>(p.qk_dim)),
                       .type = p.query_type},
                      queries, [&](std::int64_t first, std::int64_t count, float* numbers) {
                        std::copy_n(rows.begin() + first * p.qk_dim, count * p.qk_dim, numbers);
                      })[0];
  std::vector<float> out(static_cast<std::size_t>(p.v_dim));
  support::decode(p.query_type,
                  {reinterpret_cast<const std::uint16_t*>(memory.out) + row * p.v_dim, out.size()},
                  out);
  for (std::size_t i = 0; i < out.size(); ++i)
    ASSERT_NEAR(out[i], wanted.out[i], 0.01) << "number " << i;
  const bool prefill = p.kind == AttentionKind::sparse_prefill;
  const std::int64_t place =
      prefill ? row : (request * p.query_heads + head) * p.query_tokens + query_token;
  EXPECT_NEAR(reinterpret_cast<const float*>(memory.lse)[place], wanted.lse, 1e-3);
  if (prefill) {
    EXPECT_NEAR(reinterpret_cast<const float*>(memory.max_logits)[place], wanted.max_logit, 1e-3);
  }
}

struct Case {
  const char* suite;
  const char* format;
  std::vector<std::string> shapes;  // the second one is the larger one
};

class EachSuite : public testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(
    Workload, EachSuite,
    testing::Values(Case{"dense", "fp16", {"2,2,5,150,causal", "3,1,8,400,varlen"}},
                    Case{"sparse", "bf16", {"2,2,5,100", "3,1,8,200"}},
                    Case{"sparse", "v32", {"2,2,5,100", "3,1,8,200"}},
                    Case{"sparse", "v4", {"2,2,5,100", "3,1,8,200"}},
                    Case{"prefill", "bf16", {"1,3,5,100", "1,4,8,200"}}),
    [](const auto& param_info) {
      return std::string(param_info.param.suite) + "_" + param_info.param.format;
    });

TEST_P(EachSuite, CallsComputeWhatTheOracleSays) {
  const auto& [suite, format, shapes] = GetParam();
  const Workloads workloads = workloads_of(options_of(suite, format, shapes));
  support::HostMemory memory;
  const BenchTensors tensors(workloads, 7, memory);
  for (const auto& workload : workloads) {
    SCOPED_TRACE(text_of(workload->shape()));
    Call call(*workload, tensors, memory);
    call.run(nullptr);
    EXPECT_EQ(call.status(), 0);
    const Problem& p = workload->problem();
    expect_right(*workload, tensors.view(), 0, 0);
    expect_right(*workload, tensors.view(), p.batch - 1, p.query_tokens - 1);
  }
}

TEST_P(EachSuite, TokensLieAllOverTheCache) {
  const auto& [suite, format, shapes] = GetParam();
  for (const auto& workload : workloads_of(options_of(suite, format, shapes))) {
    const Problem& p = workload->problem();
    std::set<std::int64_t> pages;
    for (std::int64_t r = 0; r < p.batch; ++r)
      for (const std::int64_t slot : slots_of(*workload, r, p.query_tokens - 1))
        pages.insert(slot / p.page_size);
    EXPECT_GE(*pages.begin(), 0);
    EXPECT_LT(*pages.rbegin(), workload->num_pages());
    // A dense call reads every page; lists of 100 entries name about as many pages.
    const std::int64_t wanted = p.kind == AttentionKind::dense_decode
                                    ? workload->num_pages()
                                    : std::min<std::int64_t>(80, workload->num_pages() / 2);
    EXPECT_GE(std::ssize(pages), wanted);
  }
}

TEST(Workload, CountsBytesAndFlop) {
  const auto counted = [](std::string_view suite, const std::string& format) {
    return std::move(workloads_of(options_of(suite, format, {"1,3,4,200"}))[0]);
  };
  const auto dense = counted("dense", "bf16");
  EXPECT_EQ(dense->tokens(), 200);
  EXPECT_EQ(dense->bytes(), 2.0 * (200 * 576 + 12 * (576 + 512)));
  EXPECT_EQ(dense->flop(), 2.0 * 12 * 200 * (576 + 512));
  for (const char* suite : {"sparse", "prefill"}) {
    const auto sparse = counted(suite, "bf16");
    EXPECT_EQ(sparse->tokens(), 600);
    EXPECT_EQ(sparse->bytes(), 2.0 * (600 * 576 + 12 * (576 + 512)));
    EXPECT_EQ(sparse->flop(), 2.0 * 4 * 600 * (576 + 512));
  }
  EXPECT_EQ(counted("sparse", "v32")->bytes(), 600.0 * 656 + 2.0 * 12 * (576 + 512));
}

TEST(Workload, KvHeadsMultiplyBytesAndNotTokens) {
  BenchOptions options = options_of("dense", "bf16", {"2,1,4,100"});
  options.kv_heads = 2;
  const Workloads workloads = workloads_of(options);
  EXPECT_EQ(workloads[0]->tokens(), 200);
  EXPECT_EQ(workloads[0]->bytes(), 2.0 * (2 * 200 * 576 + 8 * (576 + 512)));
  EXPECT_EQ(workloads[0]->flop(), 2.0 * 4 * 200 * (576 + 512));
}

TEST(Suites, HaveTheirShapesUnlessShapesAreGiven) {
  EXPECT_EQ(suite_named("dense").gpu_shapes.size(), 36u);
  EXPECT_THROW(suite_named("other"), BadInput);
  for (const Suite& suite : suites()) {
    const Workloads all = workloads_of(options_of(suite.name, "bf16", {}));
    ASSERT_EQ(all.size(), suite.cpu_shapes.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(all[i]->shape(), suite.cpu_shapes[i]);
      EXPECT_EQ(all[i]->problem().kind, suite.kind);
    }
    EXPECT_EQ(workloads_of(options_of(suite.name, "bf16", {"1,1,1,10"})).size(), 1u);
  }
  EXPECT_THROW(workloads_of(options_of("sparse", "bf16", {"1,1,1,10,varlen"})), BadInput);
}

}  // namespace
}  // namespace flashmla::tools
