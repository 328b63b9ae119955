// Passes every tensor of every function in every wrong way.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "small_call.h"
#include "sparse_call.h"
#include "sweep.h"

namespace flashmla::tests {
namespace {

// run() of a planned call, and schedule(), whose lengths are spoiled.
template <class Call>
void sweep_run(Call& call, TensorView lengths,
               std::vector<std::pair<std::string, TensorView*>> tensors) {
  Plan plan = make_plan(call.problem);
  const CPlan c_plan(call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule(lengths, plan_memory.workspace());
  ASSERT_EQ(c_plan.schedule(lengths, plan_memory.workspace()), FLASHMLA_OK);
  sweep({.name = std::string(name_of(call.problem.kind)),
         .tensors = std::move(tensors),
         .written = {bytes_of(call.out), bytes_of(call.lse)},
         .cpp = [&] { run(plan, call.inputs, call.outputs, run_memory.workspace()); },
         .c = [&] { return c_plan.run(call.inputs, call.outputs, run_memory.workspace()); }});
}

TEST(WrongTensors, OfRunInDenseDecoding) {
  SmallCall call;
  sweep_run(call, call.lengths,
            {{"q", &call.inputs.q},
             {"kv_cache", &call.inputs.kv_cache},
             {"block_table", &call.inputs.block_table},
             {"attn_sink", &call.inputs.attn_sink},
             {"out", &call.outputs.out},
             {"lse", &call.outputs.lse}});
}

TEST(WrongTensors, OfRunInSparseDecoding) {
  SparseCall call;
  sweep_run(call, {},
            {{"q", &call.inputs.q},
             {"kv_cache", &call.inputs.kv_cache},
             {"indices", &call.inputs.indices},
             {"topk_length", &call.inputs.topk_length},
             {"extra_kv_cache", &call.inputs.extra_kv_cache},
             {"extra_indices", &call.inputs.extra_indices},
             {"extra_topk_length", &call.inputs.extra_topk_length},
             {"attn_sink", &call.inputs.attn_sink},
             {"out", &call.outputs.out},
             {"lse", &call.outputs.lse}});
}

TEST(WrongTensors, OfRunInSparsePrefill) {
  SparseCall call(AttentionKind::sparse_prefill);
  sweep_run(call, {},
            {{"q", &call.inputs.q},
             {"kv_cache", &call.inputs.kv_cache},
             {"indices", &call.inputs.indices},
             {"topk_length", &call.inputs.topk_length},
             {"attn_sink", &call.inputs.attn_sink},
             {"out", &call.outputs.out},
             {"lse", &call.outputs.lse},
             {"max_logits", &call.outputs.max_logits}});
}

TEST(WrongTensors, OfSchedule) {
  SmallCall call;
  Plan plan = make_plan(call.problem);
  const CPlan c_plan(call.problem);
  const AlignedBytes memory(plan.plan_workspace_bytes());
  const auto* bytes = static_cast<std::byte*>(memory.workspace().data);
  sweep({.name = "schedule",
         .tensors = {{"lengths", &call.lengths}},
         .written = {{const_cast<std::byte*>(bytes), memory.workspace().bytes}},
         .cpp = [&] { plan.schedule(call.lengths, memory.workspace()); },
         .c = [&] { return c_plan.schedule(call.lengths, memory.workspace()); }});
}

// Memory for the largest type that a spoiled tensor may have.
struct CacheCall {
  KvFormat format;
  std::int64_t dim = format == KvFormat::v4 ? 512 : 576;
  std::vector<std::uint64_t> cache = std::vector<std::uint64_t>(2 * 4 * 576, 0x38);
  std::vector<std::uint64_t> rows = std::vector<std::uint64_t>(8 * 576, 0x3f80);
  std::vector<std::uint64_t> slots = {3, 0, 7};
  TensorView cache_view{cache.data(), cache_dtype(format), {2, 4, 1, token_elements(format, dim)}};
  TensorView rows_view{rows.data(), DType::bf16, {3, 1, dim}};
  TensorView plain_view{rows.data(), DType::bf16, {2, 4, 1, dim}};
  TensorView slots_view{slots.data(), DType::i64, {3}};
};

class WrongCacheTensors : public testing::TestWithParam<KvFormat> {
 protected:
  CacheCall call_{GetParam()};
  std::int32_t format_ = static_cast<std::int32_t>(GetParam());
};

TEST_P(WrongCacheTensors, OfAppendAndGather) {
  Subject subject{
      .name = "append",
      .tensors = {{"cache", &call_.cache_view},
                  {"rows", &call_.rows_view},
                  {"slots", &call_.slots_view}},
      .written = {bytes_of(call_.cache), bytes_of(call_.rows)},
      .cpp = [&] { append(call_.cache_view, call_.format, call_.rows_view, call_.slots_view); },
      .c =
          [&] {
            CTensors c;
            return flashmla_append(c(call_.cache_view), format_, c(call_.rows_view),
                                   c(call_.slots_view), nullptr);
          }};
  sweep(subject);
  subject.name = "gather";
  subject.cpp = [&] { gather(call_.cache_view, call_.format, call_.slots_view, call_.rows_view); };
  subject.c = [&] {
    CTensors c;
    return flashmla_gather(c(call_.cache_view), format_, c(call_.slots_view), c(call_.rows_view),
                           nullptr);
  };
  sweep(subject);
}

TEST_P(WrongCacheTensors, OfQuantiseAndDequantise) {
  Subject subject{.name = "quantise",
                  .tensors = {{"cache", &call_.cache_view}, {"plain", &call_.plain_view}},
                  .written = {bytes_of(call_.cache), bytes_of(call_.rows)},
                  .cpp = [&] { quantise(call_.plain_view, call_.cache_view, call_.format); },
                  .c =
                      [&] {
                        CTensors c;
                        return flashmla_quantise(c(call_.plain_view), c(call_.cache_view), format_,
                                                 nullptr);
                      }};
  sweep(subject);
  subject.name = "dequantise";
  subject.cpp = [&] { dequantise(call_.cache_view, call_.format, call_.plain_view); };
  subject.c = [&] {
    CTensors c;
    return flashmla_dequantise(c(call_.cache_view), format_, c(call_.plain_view), nullptr);
  };
  sweep(subject);
}

INSTANTIATE_TEST_SUITE_P(Formats, WrongCacheTensors,
                         testing::Values(KvFormat::bf16, KvFormat::v32, KvFormat::v4));

TEST(WrongTensors, OfMerge) {
  std::vector<float> a(2 * 3 * 4 * 16, 1.0f), b = a, out = a, lse_a(24, 0.5f), lse_b = lse_a,
                                              lse = lse_a, sink(4, 0.0f);
  std::vector<PartialResult> parts = {
      {{a.data(), DType::fp32, {2, 3, 4, 16}}, {lse_a.data(), DType::fp32, {2, 4, 3}}},
      {{b.data(), DType::bf16, {2, 3, 4, 16}}, {lse_b.data(), DType::fp32, {2, 4, 3}}}};
  TensorView sink_view(sink.data(), DType::fp32, {4});
  Outputs outputs{.out = {out.data(), DType::fp16, {2, 3, 4, 16}},
                  .lse = {lse.data(), DType::fp32, {2, 4, 3}}};
  sweep({.name = "merge",
         .tensors = {{"parts[0].out", &parts[0].out},
                     {"parts[0].lse", &parts[0].lse},
                     {"parts[1].out", &parts[1].out},
                     {"parts[1].lse", &parts[1].lse},
                     {"attn_sink", &sink_view},
                     {"out", &outputs.out},
                     {"lse", &outputs.lse}},
         .written = {bytes_of(out), bytes_of(lse)},
         .cpp = [&] { merge(parts, sink_view, outputs); },
         .c =
             [&] {
               CTensors c;
               const flashmla_tensor* const outs[] = {c(parts[0].out), c(parts[1].out)};
               const flashmla_tensor* const lses[] = {c(parts[0].lse), c(parts[1].lse)};
               const flashmla_outputs merged = c(outputs);
               return flashmla_merge(outs, lses, 2, c(sink_view), &merged, nullptr);
             }});
}

}  // namespace
}  // namespace flashmla::tests
