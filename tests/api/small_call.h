// A small, valid dense decoding call with random contents, for tests that spoil one argument at a
// time. Outputs start as NaN, so that a test sees whether a refused call has written something.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "flashmla/flashmla.h"
#include "support/numeric.h"

namespace flashmla::tests {

class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t bytes)
      : bytes_(bytes), data_(std::aligned_alloc(workspace_alignment, round_up(bytes))) {}

  Workspace workspace() const { return {data_.get(), bytes_}; }

 private:
  static std::size_t round_up(std::size_t bytes) {
    return (bytes / workspace_alignment + 1) * workspace_alignment;
  }

  struct Free {
    void operator()(void* data) const { std::free(data); }
  };

  std::size_t bytes_;
  std::unique_ptr<void, Free> data_;
};

// A plan with the workspaces that it asks for.
struct Planned {
  Plan plan;
  AlignedBytes plan_memory;
  AlignedBytes run_memory;

  explicit Planned(const Problem& problem)
      : plan(make_plan(problem)),
        plan_memory(plan.plan_workspace_bytes()),
        run_memory(plan.run_workspace_bytes()) {}

  void schedule(const TensorView& lengths) { plan.schedule(lengths, plan_memory.workspace()); }

  template <class Call>
  void run(const Call& call) {
    flashmla::run(plan, call.inputs, call.outputs, run_memory.workspace());
  }
};

struct SmallCall {
  Problem problem;
  Inputs inputs;
  Outputs outputs;
  TensorView lengths;

  std::vector<std::uint16_t> q, cache, out;
  std::vector<float> lse, sink;
  std::vector<std::int32_t> block_table, length_values;

  explicit SmallCall(std::uint64_t seed = 1) {
    problem.batch = 2;
    problem.query_tokens = 2;
    problem.query_heads = 4;
    problem.page_size = 16;
    problem.max_pages = 3;
    const std::int64_t pages = 7;
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<std::uint16_t>& values, std::int64_t count) {
      values.resize(static_cast<std::size_t>(count));
      for (auto& value : values)
        value = support::float_to_bf16(normal(random));
    };
    fill(q, 2 * 2 * 4 * 576);
    fill(cache, pages * 16 * 576);
    out.assign(2 * 2 * 4 * 512, nan_bits);
    lse.assign(2 * 4 * 2, std::numeric_limits<float>::quiet_NaN());
    sink.assign(4, 0.5f);
    block_table = {3, 1, 6, 0, 2, 5};
    length_values = {40, 17};

    inputs.q = TensorView(q.data(), DType::bf16, {2, 2, 4, 576});
    inputs.kv_cache = TensorView(cache.data(), DType::bf16, {pages, 16, 1, 576});
    inputs.block_table = TensorView(block_table.data(), DType::i32, {2, 3});
    inputs.attn_sink = TensorView(sink.data(), DType::fp32, {4});
    outputs.out = TensorView(out.data(), DType::bf16, {2, 2, 4, 512});
    outputs.lse = TensorView(lse.data(), DType::fp32, {2, 4, 2});
    lengths = TensorView(length_values.data(), DType::i32, {2});
  }
  SmallCall(const SmallCall&) = delete;
  SmallCall& operator=(const SmallCall&) = delete;

  bool nothing_written() const {
    for (const std::uint16_t bits : out)
      if (bits != nan_bits)
        return false;
    for (const float value : lse)
      if (!std::isnan(value))
        return false;
    return true;
  }

  bool all_written() const {
    for (const std::uint16_t bits : out)
      if (std::isnan(support::bf16_to_float(bits)))
        return false;
    for (const float value : lse)
      if (std::isnan(value))
        return false;
    return true;
  }

  static constexpr std::uint16_t nan_bits = 0x7fc1;
};

}  // namespace flashmla::tests
