// Sparse decoding over a DeepSeek-V3.2 cache: the program appends 100 tokens and attends to some of
// them. examples/sparse_decode.c does the same through the C API and prints the same text.
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "flashmla/flashmla.h"

namespace {

constexpr std::int64_t tokens = 100, page_size = 64, pages = 2, heads = 4, topk = 40;
constexpr std::int64_t qk_dim = 576, v_dim = 512;

// A random multiple of 1/64 between −1 and 1. bf16 holds it exactly: its bits are the upper half of
// the fp32 bits.
std::uint16_t random_bf16(std::uint32_t& state) {
  state = state * 1664525u + 1013904223u;
  const float value = static_cast<float>(static_cast<std::int32_t>(state >> 25)) / 64.0f - 1.0f;
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

float float_of(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

struct Memory {
  explicit Memory(std::size_t size)
      : bytes(size),
        data(std::aligned_alloc(
                 flashmla::workspace_alignment,
                 (size / flashmla::workspace_alignment + 1) * flashmla::workspace_alignment),
             std::free) {}
  flashmla::Workspace workspace() const { return {data.get(), bytes}; }

  std::size_t bytes;
  std::unique_ptr<void, void (*)(void*)> data;
};

void attend() {
  using flashmla::DType;
  std::vector<std::uint16_t> rows(tokens * qk_dim), q(heads * qk_dim), out(heads * v_dim);
  std::vector<std::uint8_t> cache(pages * page_size * 656);
  std::vector<std::int64_t> slots(tokens);
  std::vector<std::int32_t> indices(topk);
  std::vector<float> sink(heads), lse(heads);
  std::uint32_t state = 7;
  for (std::uint16_t& element : rows)
    element = random_bf16(state);
  for (std::uint16_t& element : q)
    element = random_bf16(state);
  for (std::int64_t i = 0; i < tokens; ++i)
    slots[i] = i;
  for (std::int32_t i = 0; i < topk; ++i)
    indices[i] = i % 5 == 4 ? -1 : i * 37 % static_cast<std::int32_t>(tokens);
  for (std::int64_t i = 0; i < heads; ++i)
    sink[i] = static_cast<float>(i);

  const flashmla::TensorView cache_view{cache.data(), DType::u8, {pages, page_size, 1, 656}};
  flashmla::append(cache_view, flashmla::KvFormat::v32,
                   {rows.data(), DType::bf16, {tokens, 1, qk_dim}},
                   {slots.data(), DType::i64, {tokens}});

  flashmla::Problem problem;
  problem.kind = flashmla::AttentionKind::sparse_decode;
  problem.kv_format = flashmla::KvFormat::v32;
  problem.batch = 1;
  problem.query_heads = heads;
  problem.page_size = page_size;
  problem.topk = topk;

  flashmla::Plan plan = flashmla::make_plan(problem);
  const Memory plan_memory(plan.plan_workspace_bytes());
  const Memory run_memory(plan.run_workspace_bytes());
  plan.schedule({}, plan_memory.workspace());

  flashmla::Inputs inputs;
  inputs.q = {q.data(), DType::bf16, {1, 1, heads, qk_dim}};
  inputs.kv_cache = cache_view;
  inputs.attn_sink = {sink.data(), DType::fp32, {heads}};
  inputs.indices = {indices.data(), DType::i32, {1, 1, topk}};
  flashmla::Outputs outputs;
  outputs.out = {out.data(), DType::bf16, {1, 1, heads, v_dim}};
  outputs.lse = {lse.data(), DType::fp32, {1, heads, 1}};
  flashmla::run(plan, inputs, outputs, run_memory.workspace());

  for (std::int64_t h = 0; h < heads; ++h) {
    std::printf("head %d: lse %.6f, out", static_cast<int>(h), lse[h]);
    for (std::int64_t d = 0; d < v_dim; d += 128)
      std::printf(" %.6f", float_of(out[h * v_dim + d]));
    std::printf("\n");
  }

  // Every error names the argument, what was given and what is wanted.
  problem.page_size = 0;
  try {
    flashmla::make_plan(problem);
  } catch (const flashmla::Error& error) {
    std::printf("%s\n", error.what());
  }
}

}  // namespace

int main() {
  try {
    attend();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
