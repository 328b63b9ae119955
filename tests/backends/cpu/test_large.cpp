// Offsets beyond 2^31 elements, and the largest numbers of query tokens. The memory is reserved but
// not filled, so that only the touched pages of it exist.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "core/numeric.h"
#include "flashmla/flashmla.h"
#include "support/memory.h"

namespace flashmla::backends::cpu {
namespace {

class ReservedMemory {
 public:
  explicit ReservedMemory(std::size_t bytes)
      : bytes_(bytes),
        data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ReservedMemory(const ReservedMemory&) = delete;
  ReservedMemory& operator=(const ReservedMemory&) = delete;
  ~ReservedMemory() {
    if (there())
      munmap(data_, bytes_);
  }

  bool there() const { return data_ != MAP_FAILED; }
  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  std::size_t bytes_;
  void* data_;
};

void run_planned(const Problem& problem, const Inputs& inputs, const Outputs& outputs) {
  support::HostMemory memory;
  Plan plan = make_plan(problem);
  const auto plan_memory = memory.allocate(plan.plan_workspace_bytes());
  const auto run_memory = memory.allocate(plan.run_workspace_bytes());
  plan.schedule({}, {plan_memory.get(), plan.plan_workspace_bytes()});
  run(plan, inputs, outputs, {run_memory.get(), plan.run_workspace_bytes()});
}

// With a row of ones and a query of ones the score is d_qk · d_qk^(−1/2).
void expect_ones(const std::vector<std::uint16_t>& out, float lse, double qk_dim) {
  EXPECT_EQ(bf16_to_float(out[0]), 1.0f);
  EXPECT_EQ(bf16_to_float(out[511]), 1.0f);
  EXPECT_NEAR(lse, std::sqrt(qk_dim), 1e-4);
}

TEST(Large, PrefillBeyondTwoToThe31Elements) {
  constexpr std::int64_t tokens = (std::int64_t{1} << 32) / 576 + 5;
  const ReservedMemory kv(static_cast<std::size_t>(tokens) * 576 * 2);
  if (!kv.there())
    GTEST_SKIP() << "9 GB of address space cannot be reserved";
  auto* last = reinterpret_cast<std::uint16_t*>(kv.data()) + (tokens - 1) * 576;
  std::fill_n(last, 576, float_to_bf16(1.0f));
  std::vector<std::uint16_t> q(576, float_to_bf16(1.0f));
  std::vector<std::uint16_t> out(512);
  float lse = 0;
  auto index = static_cast<std::int32_t>(tokens - 1);
  Problem problem;
  problem.kind = AttentionKind::sparse_prefill;
  problem.batch = problem.query_heads = problem.topk = 1;
  Inputs inputs;
  inputs.q = {q.data(), DType::bf16, {1, 1, 576}};
  inputs.kv_cache = {kv.data(), DType::bf16, {tokens, 1, 576}};
  inputs.indices = {&index, DType::i32, {1, 1, 1}};
  run_planned(problem, inputs,
              {{out.data(), DType::bf16, {1, 1, 512}}, {&lse, DType::fp32, {1, 1}}, {}});
  expect_ones(out, lse, 576);
}

TEST(Large, Fp8CachesOfFarApartPages) {
  constexpr std::int64_t stride = (std::int64_t{1} << 31) + 4096;
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4}) {
    const std::int64_t dim = format_qk_dim(format);
    const std::int64_t token = token_bytes(format, dim);
    const ReservedMemory memory(static_cast<std::size_t>(3 * stride));
    if (!memory.there())
      GTEST_SKIP() << "6 GB of address space cannot be reserved";
    const TensorView cache{
        memory.data(), DType::e4m3, {3, 64, 1, token}, {stride, token, token, 1}};
    std::vector<std::uint16_t> ones(static_cast<std::size_t>(dim), float_to_bf16(1.0f));
    std::int64_t slot = 3 * 64 - 1;
    append(cache, format, {ones.data(), DType::bf16, {1, 1, dim}}, {&slot, DType::i64, {1}});
    std::vector<std::uint16_t> out(512);
    float lse = 0;
    auto index = static_cast<std::int32_t>(slot);
    Problem problem;
    problem.kind = AttentionKind::sparse_decode;
    problem.kv_format = format;
    problem.batch = problem.query_heads = problem.topk = 1;
    problem.qk_dim = dim;
    Inputs inputs;
    inputs.q = {ones.data(), DType::bf16, {1, 1, 1, dim}};
    inputs.kv_cache = cache;
    inputs.indices = {&index, DType::i32, {1, 1, 1}};
    run_planned(problem, inputs,
                {{out.data(), DType::bf16, {1, 1, 1, 512}}, {&lse, DType::fp32, {1, 1, 1}}, {}});
    expect_ones(out, lse, static_cast<double>(dim));
  }
}

// b = 131,072 and s_q = 1, then the reverse. All query tokens share their query (stride 0).
TEST(Large, AsManyQueryTokensAsTheContractHas) {
  constexpr std::int64_t tokens = 131072;
  std::vector<std::uint16_t> ones(576, float_to_bf16(1.0f));
  std::vector<std::int32_t> indices(tokens, 0);
  indices[tokens - 1] = -1;
  for (const auto& [b, s_q] : {std::pair{tokens, std::int64_t{1}}, {std::int64_t{1}, tokens}}) {
    std::vector<std::uint16_t> out(static_cast<std::size_t>(tokens) * 512, 0x7fff);
    std::vector<float> lse(static_cast<std::size_t>(tokens), std::nanf(""));
    Problem problem;
    problem.kind = AttentionKind::sparse_decode;
    problem.batch = b;
    problem.query_tokens = s_q;
    problem.query_heads = problem.topk = problem.page_size = 1;
    Inputs inputs;
    inputs.q = {ones.data(), DType::bf16, {b, s_q, 1, 576}, {0, 0, 0, 1}};
    inputs.kv_cache = {ones.data(), DType::bf16, {1, 1, 1, 576}};
    inputs.indices = {indices.data(), DType::i32, {b, s_q, 1}};
    run_planned(
        problem, inputs,
        {{out.data(), DType::bf16, {b, s_q, 1, 512}}, {lse.data(), DType::fp32, {b, 1, s_q}}, {}});
    expect_ones(out, lse[0], 576);
    for (std::size_t i = 0; i + 1 < static_cast<std::size_t>(tokens); ++i)
      ASSERT_EQ(lse[i], lse[0]) << i;
    EXPECT_EQ(lse[tokens - 1], std::numeric_limits<float>::infinity());
    EXPECT_EQ(out.back(), 0);
  }
}

}  // namespace
}  // namespace flashmla::backends::cpu
