// One decoding call with an installed FlashMLA, as in README.md. All cached rows are equal, so the
// answer is known: out is this row, and lse is the logarithm of the length. The exit status is 0
// where both are right.
#include <flashmla/flashmla.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

struct alignas(flashmla::workspace_alignment) Line {
  std::byte bytes[flashmla::workspace_alignment];
};

flashmla::Workspace workspace_of(std::vector<Line>& lines, std::size_t bytes) {
  lines.resize(bytes / sizeof(Line) + 1);
  return {lines.data(), bytes};
}

int main() {
  using flashmla::DType;
  constexpr std::uint16_t one = 0x3f80;  // 1.0 in bf16
  std::vector<std::int32_t> lengths{100, 7};
  std::vector<std::int32_t> pages{2, 0, 1, -1};  // 64 tokens a page; the last entry is never read
  std::vector<std::uint16_t> q(2 * 16 * 576);
  std::vector<std::uint16_t> cache(3 * 64 * 576, one);
  std::vector<std::uint16_t> out(2 * 16 * 512);
  std::vector<float> lse(2 * 16);

  flashmla::Problem problem;  // by default dense decoding in bf16 with d_qk 576 and d_v 512
  problem.batch = 2;
  problem.query_heads = 16;
  problem.max_pages = 2;
  flashmla::Plan plan = flashmla::make_plan(problem);

  std::vector<Line> plan_lines;
  std::vector<Line> run_lines;
  plan.schedule({lengths.data(), DType::i32, {2}},
                workspace_of(plan_lines, plan.plan_workspace_bytes()));

  flashmla::Inputs inputs;
  inputs.q = {q.data(), DType::bf16, {2, 1, 16, 576}};
  inputs.kv_cache = {cache.data(), DType::bf16, {3, 64, 1, 576}};
  inputs.block_table = {pages.data(), DType::i32, {2, 2}};
  flashmla::Outputs outputs;
  outputs.out = {out.data(), DType::bf16, {2, 1, 16, 512}};
  outputs.lse = {lse.data(), DType::fp32, {2, 16, 1}};
  flashmla::run(plan, inputs, outputs, workspace_of(run_lines, plan.run_workspace_bytes()));

  for (const std::uint16_t number : out)
    if (number != one)
      return 1;
  for (std::size_t i = 0; i < lse.size(); ++i)
    if (std::abs(lse[i] - std::log(static_cast<float>(lengths[i / 16]))) > 1e-5f)
      return 1;
  return 0;
}
