// Makes the C++ calls of the tests through the C API, with the same tensors as C structs, and
// expects the same rejections.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "flashmla/c_api.h"
#include "flashmla/flashmla.h"

namespace flashmla::tests {

inline flashmla_problem c_problem(const Problem& p) {
  flashmla_problem c;
  EXPECT_EQ(flashmla_problem_init(&c, sizeof c), FLASHMLA_OK);
  c.kind = static_cast<std::int32_t>(p.kind);
  c.device_type = static_cast<std::int32_t>(p.device.type);
  c.device_index = p.device.index;
  c.query_type = static_cast<std::int32_t>(p.query_type);
  c.kv_format = static_cast<std::int32_t>(p.kv_format);
  c.max_workers = p.max_workers;
  c.batch = p.batch;
  c.query_tokens = p.query_tokens;
  c.query_heads = p.query_heads;
  c.kv_heads = p.kv_heads;
  c.qk_dim = p.qk_dim;
  c.v_dim = p.v_dim;
  c.page_size = p.page_size;
  c.max_pages = p.max_pages;
  c.topk = p.topk;
  c.extra_topk = p.extra_topk;
  c.extra_page_size = p.extra_page_size;
  c.causal = p.causal;
  c.ragged_queries = p.ragged_queries;
  c.split_query = p.split_query;
  c.scaled_cache = p.scaled_cache;
  c.batch_invariant = p.batch_invariant;
  return c;
}

// The tensors of one call. Pointers to them live as long as this object.
class CTensors {
 public:
  // Null for a view that is not given.
  const flashmla_tensor* operator()(const TensorView& view) {
    if (!view.given())
      return nullptr;
    flashmla_tensor& c = tensors_.emplace_back();
    c.struct_size = sizeof c;
    c.data = view.data;
    c.dtype = static_cast<std::int32_t>(view.dtype);
    c.device_type = static_cast<std::int32_t>(view.device.type);
    c.device_index = view.device.index;
    c.rank = view.rank;
    std::ranges::copy(view.shape, c.shape);
    std::ranges::copy(view.strides, c.strides);
    return &c;
  }

  flashmla_inputs operator()(const Inputs& in) {
    return {.struct_size = sizeof(flashmla_inputs),
            .q = (*this)(in.q),
            .kv_cache = (*this)(in.kv_cache),
            .block_table = (*this)(in.block_table),
            .attn_sink = (*this)(in.attn_sink),
            .softmax_scale = in.softmax_scale ? &*in.softmax_scale : nullptr,
            .indices = (*this)(in.indices),
            .topk_length = (*this)(in.topk_length),
            .extra_kv_cache = (*this)(in.extra_kv_cache),
            .extra_indices = (*this)(in.extra_indices),
            .extra_topk_length = (*this)(in.extra_topk_length),
            .query_offsets = (*this)(in.query_offsets),
            .q_rotary = (*this)(in.q_rotary),
            .kv_scale = (*this)(in.kv_scale)};
  }

  flashmla_outputs operator()(const Outputs& outputs) {
    return {.struct_size = sizeof(flashmla_outputs),
            .out = (*this)(outputs.out),
            .lse = (*this)(outputs.lse),
            .max_logits = (*this)(outputs.max_logits),
            .lse_base = static_cast<std::int32_t>(outputs.lse_base),
            .empty_lse = static_cast<std::int32_t>(outputs.empty_lse)};
  }

 private:
  std::deque<flashmla_tensor> tensors_;
};

// A plan of the C API. The destructor destroys it.
class CPlan {
 public:
  explicit CPlan(const Problem& problem) {
    const flashmla_problem c = c_problem(problem);
    EXPECT_EQ(flashmla_plan_create(&c, &plan_), FLASHMLA_OK) << flashmla_last_error();
  }
  CPlan(const CPlan&) = delete;
  CPlan& operator=(const CPlan&) = delete;
  ~CPlan() { flashmla_plan_destroy(plan_); }

  flashmla_plan* get() const { return plan_; }
  flashmla_status schedule(const TensorView& lengths, Workspace workspace) const {
    CTensors tensors;
    return flashmla_plan_schedule(plan_, tensors(lengths), workspace.data, workspace.bytes,
                                  nullptr);
  }
  flashmla_status run(const Inputs& inputs, const Outputs& outputs, Workspace workspace) const {
    CTensors tensors;
    const flashmla_inputs in = tensors(inputs);
    const flashmla_outputs out = tensors(outputs);
    return flashmla_run(plan_, &in, &out, workspace.data, workspace.bytes, nullptr);
  }

 private:
  flashmla_plan* plan_ = nullptr;
};

// The name of the C parameter that has the name `argument` in C++.
inline std::string in_c(const std::string& argument) {
  if (argument == "format")
    return "kv_format";
  if (argument == "plan_workspace" || argument == "run_workspace")
    return "workspace";
  for (const std::string part : {"out", "lse"})
    if (argument.starts_with("parts[") && argument.ends_with("." + part))
      return "part_" + part + "s" + argument.substr(5, argument.size() - 6 - part.size());
  return argument;
}

inline void expect_c_rejected(flashmla_status status, const std::string& argument,
                              const std::string& given) {
  EXPECT_EQ(status, FLASHMLA_INVALID_ARGUMENT) << flashmla_last_error();
  EXPECT_EQ(flashmla_last_error_argument(), argument) << flashmla_last_error();
  EXPECT_THAT(flashmla_last_error_given(), testing::HasSubstr(given)) << flashmla_last_error();
  EXPECT_STRNE(flashmla_last_error_wanted(), "");
  EXPECT_THAT(flashmla_last_error(),
              testing::AllOf(testing::HasSubstr(argument),
                             testing::HasSubstr(flashmla_last_error_wanted())));
}

}  // namespace flashmla::tests
