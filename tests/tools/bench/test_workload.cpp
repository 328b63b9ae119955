#include "tools/bench/workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
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

// The slots that a query token lists in the main or the extra cache.
std::vector<std::int64_t> listed(const std::vector<std::int32_t>& places, std::int64_t topk,
                                 std::int64_t list) {
  std::vector<std::int64_t> slots;
  std::copy_if(places.begin() + list * topk, places.begin() + (list + 1) * topk,
               std::back_inserter(slots), [](std::int32_t slot) { return slot >= 0; });
  return slots;
}

// The slots of the main cache that a query token attends to, read from the workload's places.
std::vector<std::int64_t> slots_of(const Workload& workload, std::int64_t request,
                                   std::int64_t query_token) {
  const Problem& p = workload.problem();
  const std::vector<std::int32_t> places = workload.places();
  std::vector<std::int64_t> slots;
  if (p.kind != AttentionKind::dense_decode)
    return listed(places, p.topk, request * p.query_tokens + query_token);
  const std::int64_t hidden = p.causal ? p.query_tokens - 1 - query_token : 0;
  const std::int64_t tokens = workload.lengths()[request] - hidden;
  for (std::int64_t i = 0; i < tokens; ++i)
    slots.push_back(std::int64_t{places[request * p.max_pages + i / p.page_size]} * p.page_size +
                    i % p.page_size);
  return slots;
}

// The cached rows of these slots as numbers, [n, d_qk].
std::vector<float> rows_of(const Problem& p, const TensorView& cache,
                           std::vector<std::int64_t> slots) {
  const std::int64_t count = std::ssize(slots);
  std::vector<std::uint16_t> bits(slots.size() * static_cast<std::size_t>(p.qk_dim));
  gather(cache, p.kv_format, {slots.data(), DType::i64, {count}},
         {bits.data(), p.query_type, {count, 1, p.qk_dim}});
  std::vector<float> rows(bits.size());
  support::decode(p.query_type, bits, rows);
  return rows;
}

// The rows that a query token attends to, those of the extra cache last.
std::vector<float> attended(const Workload& workload, const CallMemory& memory,
                            std::int64_t request, std::int64_t query_token) {
  const Problem& p = workload.problem();
  const Inputs inputs = workload.inputs(memory);
  TensorView cache = inputs.kv_cache;
  if (p.kind == AttentionKind::sparse_prefill)
    cache = {cache.data, cache.dtype, {workload.num_pages(), 1, 1, p.qk_dim}};
  std::vector<float> rows = rows_of(p, cache, slots_of(workload, request, query_token));
  if (p.extra_topk > 0) {
    const auto slots =
        listed(workload.extra_places(), p.extra_topk, request * p.query_tokens + query_token);
    const std::vector<float> extra = rows_of(p, inputs.extra_kv_cache, slots);
    rows.insert(rows.end(), extra.begin(), extra.end());
  }
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
  const std::vector<float> rows = attended(workload, memory, request, query_token);
  const std::vector<support::OracleQuery> queries{{.q = q, .tokens = std::ssize(rows) / p.qk_dim}};
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
                    Case{"sparse", "v32", {"2,2,5,100,valid90", "3,1,8,200,scattered80"}},
                    Case{"sparse", "v4", {"2,2,5,100+70@2", "3,1,8,200+60"}},
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
    expect_right(*workload, tensors.view(*workload), 0, 0);
    expect_right(*workload, tensors.view(*workload), p.batch - 1, p.query_tokens - 1);
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
    const std::vector<std::int32_t> places = sparse->places();
    const std::int64_t distinct = std::ssize(std::set(places.begin(), places.end()));
    EXPECT_EQ(sparse->tokens(), 600);
    EXPECT_EQ(sparse->bytes(), 2.0 * (static_cast<double>(distinct) * 576 + 12 * (576 + 512)));
    EXPECT_EQ(sparse->flop(), 2.0 * 4 * 600 * (576 + 512));
    EXPECT_GT(distinct, 550);
  }
}

TEST(Workload, CountsBytesAndFlopOfEntriesThatNameASlot) {
  const auto counted = [](const std::string& format, const std::string& shape) {
    return std::move(workloads_of(options_of("sparse", format, {shape}))[0]);
  };
  for (const char* flag : {"valid50", "scattered50"}) {
    const auto few = counted("v32", std::string("3,1,4,200,") + flag);
    EXPECT_EQ(few->tokens(), 150);
    EXPECT_EQ(few->bytes(), 150.0 * 656 + 2.0 * 12 * (576 + 512));
    EXPECT_EQ(few->flop(), 2.0 * 4 * 150 * (576 + 512));
  }
  const auto both = counted("v4", "3,1,4,128+70@2");
  EXPECT_EQ(both->tokens(), 3 * 198);
  EXPECT_EQ(both->bytes(), 3.0 * 198 * 584 + 2.0 * 12 * (512 + 512));
}

TEST(Workload, ListsNameDistinctSlotsOfTheRequestsOwnPages) {
  const auto workload = std::move(workloads_of(options_of("sparse", "v32", {"3,2,1,300"}))[0]);
  const std::vector<std::int32_t> places = workload->places();
  std::vector<std::set<std::int64_t>> pages(3);
  for (std::int64_t list = 0; list < 6; ++list) {
    const auto slots = listed(places, 300, list);
    EXPECT_EQ(std::set(slots.begin(), slots.end()).size(), 300u);
    for (const std::int64_t slot : slots)
      pages[list / 2].insert(slot / 64);
  }
  for (const std::int64_t page : pages[0])
    EXPECT_FALSE(pages[1].contains(page) || pages[2].contains(page)) << page;
}

TEST(Workload, ValidEntriesStandFirstOrAnywhere) {
  const auto places_of = [](const std::string& shape) {
    return workloads_of(options_of("sparse", "v32", {shape}))[0]->places();
  };
  const auto first = places_of("1,1,1,2048,valid256");
  EXPECT_TRUE(std::all_of(first.begin(), first.begin() + 256, [](auto slot) { return slot >= 0; }));
  EXPECT_TRUE(std::all_of(first.begin() + 256, first.end(), [](auto slot) { return slot == -1; }));
  const auto anywhere = places_of("1,1,1,2048,scattered256");
  EXPECT_EQ(std::ranges::count(anywhere, -1), 2048 - 256);
  for (int quarter = 0; quarter < 4; ++quarter)
    EXPECT_LT(
        std::count(anywhere.begin() + quarter * 512, anywhere.begin() + (quarter + 1) * 512, -1),
        512)
        << quarter;
}

// The scale of tile 0 of each token is a power of two, or follows absmax exactly.
TEST(Workload, ScalesOfFp8CachesFollowTheRule) {
  for (const char* rule : {"power-of-two", "absmax"}) {
    BenchOptions options = options_of("sparse", "v32", {"1,1,1,10"});
    options.scales = rule;
    const Workloads workloads = workloads_of(options);
    support::HostMemory memory;
    const BenchTensors tensors(workloads, 7, memory, options.scale_rule());
    const std::byte* cache = tensors.view(*workloads[0]).cache;
    int powers = 0;
    for (int token = 0; token < 100; ++token) {
      float scale = 0;
      std::memcpy(&scale, cache + token * V32Layout::token_bytes + V32Layout::scales_offset, 4);
      int exponent = 0;
      powers += std::frexp(scale, &exponent) == 0.5F;
      EXPECT_GT(scale, 1e-4F);
    }
    EXPECT_EQ(powers, std::string(rule) == "absmax" ? 0 : 100) << rule;
  }
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
  EXPECT_EQ(suite_named("dense").gpu_shapes(KvFormat::bf16).size(), 36u);
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
  for (const char* shape : {"1,1,1,10+10", "1,1,1,10,valid5"})
    EXPECT_THROW(workloads_of(options_of("dense", "bf16", {shape})), BadInput) << shape;
  EXPECT_THROW(workloads_of(options_of("prefill", "bf16", {"1,1,1,10+10"})), BadInput);
}

}  // namespace
}  // namespace flashmla::tools
