// What the C API adds to the C++ API: struct_size, null pointers, texts in buffers, the last error
// of a thread. The tests of the C++ calls check that both APIs reject the same calls.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "as_c.h"
#include "small_call.h"
#include "sparse_call.h"

namespace flashmla::tests {
namespace {

TEST(CApi, ComputesWhatCppComputes) {
  for (const AttentionKind kind : {AttentionKind::sparse_decode, AttentionKind::sparse_prefill}) {
    SparseCall cpp(kind);
    SparseCall c(kind);
    Plan plan = make_plan(cpp.problem);
    const CPlan c_plan(c.problem);
    const AlignedBytes plan_memory(plan.plan_workspace_bytes());
    const AlignedBytes run_memory(plan.run_workspace_bytes());
    plan.schedule({}, plan_memory.workspace());
    cpp.inputs.softmax_scale = c.inputs.softmax_scale = 0.25f;
    run(plan, cpp.inputs, cpp.outputs, run_memory.workspace());
    EXPECT_EQ(c_plan.schedule({}, plan_memory.workspace()), FLASHMLA_OK);
    EXPECT_EQ(c_plan.run(c.inputs, c.outputs, run_memory.workspace()), FLASHMLA_OK);
    EXPECT_EQ(cpp.out, c.out);
    EXPECT_EQ(cpp.lse, c.lse);
    if (kind == AttentionKind::sparse_prefill) {
      EXPECT_EQ(cpp.max_logits, c.max_logits);
    }
  }
}

TEST(CApi, PlansTellAboutThemselves) {
  SmallCall call;
  const Plan plan = make_plan(call.problem);
  const CPlan c_plan(call.problem);
  std::size_t plan_bytes = 0;
  std::size_t run_bytes = 0;
  EXPECT_EQ(flashmla_plan_workspace_bytes(c_plan.get(), &plan_bytes, &run_bytes), FLASHMLA_OK);
  EXPECT_EQ(plan_bytes, plan.plan_workspace_bytes());
  EXPECT_EQ(run_bytes, plan.run_workspace_bytes());

  flashmla_problem back{};
  back.struct_size = sizeof back;
  EXPECT_EQ(flashmla_plan_problem(c_plan.get(), &back), FLASHMLA_OK);
  const flashmla_problem sent = c_problem(call.problem);
  EXPECT_EQ(std::memcmp(&back, &sent, sizeof back), 0);

  std::array<char, 64> text{};
  std::size_t length = 0;
  EXPECT_EQ(flashmla_plan_backend(c_plan.get(), text.data(), text.size(), &length), FLASHMLA_OK);
  EXPECT_STREQ(text.data(), "cpu");
  EXPECT_EQ(length, 3u);

  std::int32_t number = -1;
  EXPECT_EQ(flashmla_plan_scheduled(c_plan.get(), &number), FLASHMLA_OK);
  EXPECT_EQ(number, 0);
  expect_c_rejected(flashmla_plan_status(c_plan.get(), nullptr, &number), "plan",
                    "without a schedule");
  flashmla_schedule_view view{};
  view.struct_size = sizeof view;
  expect_c_rejected(flashmla_plan_view(c_plan.get(), &view), "plan", "without a schedule");

  const AlignedBytes memory(plan_bytes);
  EXPECT_EQ(c_plan.schedule(call.lengths, memory.workspace()), FLASHMLA_OK);
  EXPECT_EQ(flashmla_plan_scheduled(c_plan.get(), &number), FLASHMLA_OK);
  EXPECT_EQ(number, 1);
  EXPECT_EQ(flashmla_plan_status(c_plan.get(), nullptr, &number), FLASHMLA_OK);
  EXPECT_EQ(number, 0);
  EXPECT_EQ(flashmla_plan_view(c_plan.get(), &view), FLASHMLA_OK);
  EXPECT_EQ(view.lengths[0], 40);
  EXPECT_EQ(view.block_tokens, 64);
  EXPECT_EQ(view.work[0].first_request, 0);
  EXPECT_EQ(view.work[0].first_length, 40);
}

TEST(CApi, TextsAreCutAndTellTheirLength) {
  const flashmla_problem problem = c_problem(SmallCall().problem);
  std::size_t length = 0;
  EXPECT_EQ(flashmla_problem_describe(&problem, nullptr, 0, &length), FLASHMLA_OK);
  EXPECT_EQ(length, describe(SmallCall().problem).size());
  std::vector<char> text(length + 1, 'x');
  EXPECT_EQ(flashmla_problem_describe(&problem, text.data(), text.size(), nullptr), FLASHMLA_OK);
  EXPECT_EQ(text.data(), describe(SmallCall().problem));
  std::array<char, 6> small{};
  EXPECT_EQ(flashmla_problem_describe(&problem, small.data(), 6, &length), FLASHMLA_OK);
  EXPECT_STREQ(small.data(), "dense");
  expect_c_rejected(flashmla_problem_describe(&problem, nullptr, 5, &length), "text", "null");
}

TEST(CApi, StructsTellTheirSize) {
  flashmla_plan* plan = nullptr;
  flashmla_problem problem = c_problem(SmallCall().problem);
  for (const std::size_t wrong : {std::size_t{0}, sizeof problem - 8, std::size_t{5000}}) {
    problem.struct_size = wrong;
    expect_c_rejected(flashmla_plan_create(&problem, &plan), "problem",
                      "struct_size " + std::to_string(wrong));
    expect_c_rejected(flashmla_problem_init(&problem, wrong), "struct_size", std::to_string(wrong));
  }
  struct Newer {
    flashmla_problem known;
    std::int64_t later[4];
  } newer{c_problem(SmallCall().problem), {}};
  newer.known.struct_size = sizeof newer;
  EXPECT_EQ(flashmla_plan_create(&newer.known, &plan), FLASHMLA_OK);
  newer.later[0] = 7;
  EXPECT_EQ(flashmla_plan_problem(plan, &newer.known), FLASHMLA_OK);
  EXPECT_EQ(newer.later[0], 0);
  EXPECT_EQ(newer.known.struct_size, sizeof newer);
  flashmla_plan_destroy(plan);
  newer.later[3] = 1;
  expect_c_rejected(flashmla_plan_create(&newer.known, &plan), "problem", "newer version");

  problem = c_problem(SmallCall().problem);
  problem.causal = 2;
  expect_c_rejected(flashmla_plan_create(&problem, &plan), "causal", "2");
  problem.causal = 0;
  problem.reserved = 1;
  expect_c_rejected(flashmla_plan_create(&problem, &plan), "reserved", "1");
}

TEST(CApi, StructsOfRunTellTheirSize) {
  SparseCall call;
  const CPlan plan(call.problem);
  std::size_t plan_bytes = 0;
  std::size_t run_bytes = 0;
  flashmla_plan_workspace_bytes(plan.get(), &plan_bytes, &run_bytes);
  const AlignedBytes plan_memory(plan_bytes);
  const AlignedBytes run_memory(run_bytes);
  EXPECT_EQ(plan.schedule({}, plan_memory.workspace()), FLASHMLA_OK);
  CTensors tensors;
  flashmla_inputs inputs = tensors(call.inputs);
  flashmla_outputs outputs = tensors(call.outputs);
  void* const memory = run_memory.workspace().data;
  const auto run_it = [&](const flashmla_inputs* in, const flashmla_outputs* out) {
    return flashmla_run(plan.get(), in, out, memory, run_bytes, nullptr);
  };
  inputs.struct_size = 8;
  expect_c_rejected(run_it(&inputs, &outputs), "inputs", "struct_size 8");
  inputs.struct_size = sizeof inputs;
  outputs.struct_size = 0;
  expect_c_rejected(run_it(&inputs, &outputs), "outputs", "struct_size 0");
  outputs.struct_size = sizeof outputs;
  expect_c_rejected(run_it(nullptr, &outputs), "inputs", "null");
  expect_c_rejected(run_it(&inputs, nullptr), "outputs", "null");
  flashmla_tensor q = *inputs.q;
  q.struct_size = 3;
  inputs.q = &q;
  expect_c_rejected(run_it(&inputs, &outputs), "q", "struct_size 3");
  q.struct_size = sizeof q;
  EXPECT_EQ(run_it(&inputs, &outputs), FLASHMLA_OK);
}

TEST(CApi, NullPointersAreRejectedByName) {
  flashmla_plan* plan = nullptr;
  flashmla_problem problem = c_problem(SmallCall().problem);
  std::int32_t number = 0;
  std::size_t bytes = 0;
  expect_c_rejected(flashmla_plan_create(nullptr, &plan), "problem", "null");
  expect_c_rejected(flashmla_plan_create(&problem, nullptr), "plan", "null");
  expect_c_rejected(flashmla_plan_workspace_bytes(nullptr, &bytes, &bytes), "plan", "null");
  expect_c_rejected(flashmla_plan_schedule(nullptr, nullptr, nullptr, 0, nullptr), "plan", "null");
  expect_c_rejected(flashmla_plan_attach(nullptr, nullptr, 0), "plan", "null");
  expect_c_rejected(flashmla_plan_scheduled(nullptr, &number), "plan", "null");
  expect_c_rejected(flashmla_plan_describe(nullptr, nullptr, 0, nullptr), "plan", "null");
  expect_c_rejected(flashmla_plan_problem(nullptr, &problem), "plan", "null");
  expect_c_rejected(flashmla_run(nullptr, nullptr, nullptr, nullptr, 0, nullptr), "plan", "null");
  expect_c_rejected(flashmla_problem_init(nullptr, sizeof problem), "problem", "null");
  expect_c_rejected(flashmla_backend_count(nullptr), "count", "null");
  expect_c_rejected(flashmla_cpu_threads(nullptr), "threads", "null");
  expect_c_rejected(flashmla_refusal(nullptr, &problem, nullptr, 0, nullptr), "backend", "null");
  expect_c_rejected(flashmla_append(nullptr, FLASHMLA_KV_V32, nullptr, nullptr, nullptr), "rows",
                    "no tensor");
  expect_c_rejected(flashmla_merge(nullptr, nullptr, 2, nullptr, nullptr, nullptr), "outputs",
                    "null");
  flashmla_outputs outputs{};
  outputs.struct_size = sizeof outputs;
  expect_c_rejected(flashmla_merge(nullptr, nullptr, 2, nullptr, &outputs, nullptr), "part_outs",
                    "null");
  expect_c_rejected(flashmla_problem_describe(nullptr, nullptr, 0, nullptr), "problem", "null");
  expect_c_rejected(flashmla_refusal("cpu", nullptr, nullptr, 0, nullptr), "problem", "null");
  expect_c_rejected(flashmla_tensor_init(nullptr, sizeof(flashmla_tensor), nullptr, 0, 0, nullptr),
                    "rank", "0");
  const std::int64_t one = 1;
  expect_c_rejected(flashmla_tensor_init(nullptr, sizeof(flashmla_tensor), nullptr, 0, 1, &one),
                    "tensor", "null");
  expect_c_rejected(flashmla_backend_device_count(0, nullptr), "count", "null");
  const CPlan made(SmallCall().problem);
  expect_c_rejected(flashmla_plan_problem(made.get(), nullptr), "problem", "null");
  expect_c_rejected(flashmla_plan_scheduled(made.get(), nullptr), "scheduled", "null");
  expect_c_rejected(flashmla_plan_status(nullptr, nullptr, &number), "plan", "null");
  expect_c_rejected(flashmla_plan_backend(nullptr, nullptr, 0, nullptr), "plan", "null");
  expect_c_rejected(flashmla_plan_backend(made.get(), nullptr, 3, nullptr), "text", "null");
  const AlignedBytes memory(flashmla::make_plan(SmallCall().problem).plan_workspace_bytes());
  EXPECT_EQ(made.schedule(SmallCall().lengths, memory.workspace()), FLASHMLA_OK);
  expect_c_rejected(flashmla_plan_status(made.get(), nullptr, nullptr), "status", "null");
  expect_c_rejected(flashmla_plan_view(made.get(), nullptr), "view", "null");
  expect_c_rejected(flashmla_run(made.get(), nullptr, nullptr, nullptr, 0, nullptr), "inputs",
                    "null");
  expect_c_rejected(flashmla_plan_workspace_bytes(made.get(), nullptr, &bytes), "plan_workspace",
                    "null");
  expect_c_rejected(flashmla_plan_workspace_bytes(made.get(), &bytes, nullptr), "run_workspace",
                    "null");
  flashmla_plan_destroy(nullptr);
}

TEST(CApi, TensorInitMakesContiguousTensors) {
  flashmla_tensor tensor;
  const std::int64_t shape[] = {2, 0, 3};
  EXPECT_EQ(flashmla_tensor_init(&tensor, sizeof tensor, nullptr, FLASHMLA_FP32, 3, shape),
            FLASHMLA_OK);
  EXPECT_EQ(tensor.strides[0], 3);
  EXPECT_EQ(tensor.strides[1], 3);
  EXPECT_EQ(tensor.strides[2], 1);
  expect_c_rejected(flashmla_tensor_init(&tensor, sizeof tensor, nullptr, 0, 6, shape), "rank",
                    "6");
  expect_c_rejected(flashmla_tensor_init(&tensor, sizeof tensor, nullptr, 0, 2, nullptr), "shape",
                    "null");
  const std::int64_t huge[] = {std::int64_t{1} << 40, std::int64_t{1} << 40};
  expect_c_rejected(flashmla_tensor_init(&tensor, sizeof tensor, nullptr, 0, 2, huge), "shape",
                    "2^63");
  const std::int64_t negative[] = {3, -2};
  expect_c_rejected(flashmla_tensor_init(&tensor, sizeof tensor, nullptr, 0, 2, negative), "shape",
                    "-2");
  expect_c_rejected(flashmla_tensor_init(&tensor, sizeof tensor, nullptr, 8, 2, shape), "dtype",
                    "8");
  expect_c_rejected(flashmla_tensor_init(&tensor, 7, nullptr, 0, 2, shape), "struct_size", "7");
}

TEST(CApi, BackendsAndRefusals) {
  std::int32_t count = 0;
  EXPECT_EQ(flashmla_backend_count(&count), FLASHMLA_OK);
  ASSERT_GE(count, 1);
  std::array<char, 512> text{};
  EXPECT_EQ(flashmla_backend_name(count - 1, text.data(), text.size(), nullptr), FLASHMLA_OK);
  EXPECT_STREQ(text.data(), "cpu");
  EXPECT_EQ(flashmla_backend_unavailable(count - 1, text.data(), text.size(), nullptr),
            FLASHMLA_OK);
  EXPECT_STREQ(text.data(), "");
  std::int32_t devices = 0;
  EXPECT_EQ(flashmla_backend_device_count(count - 1, &devices), FLASHMLA_OK);
  EXPECT_EQ(devices, 1);
  EXPECT_EQ(flashmla_backend_device(count - 1, 0, text.data(), text.size(), nullptr), FLASHMLA_OK);
  EXPECT_THAT(text.data(), testing::HasSubstr("cpu:0"));
  expect_c_rejected(flashmla_backend_name(count, text.data(), text.size(), nullptr), "backend",
                    std::to_string(count));
  expect_c_rejected(flashmla_backend_device(count - 1, 1, text.data(), 9, nullptr), "device", "1");

  flashmla_problem problem = c_problem(SmallCall().problem);
  EXPECT_EQ(flashmla_refusal("cpu", &problem, text.data(), text.size(), nullptr), FLASHMLA_OK);
  EXPECT_STREQ(text.data(), "");
  problem.kv_format = FLASHMLA_KV_V32;
  EXPECT_EQ(flashmla_refusal("cpu", &problem, text.data(), text.size(), nullptr), FLASHMLA_OK);
  EXPECT_THAT(text.data(), testing::HasSubstr("v32"));
  expect_c_rejected(flashmla_refusal("tpu", &problem, text.data(), 9, nullptr), "backend", "tpu");
  flashmla_plan* plan = nullptr;
  EXPECT_EQ(flashmla_plan_create(&problem, &plan), FLASHMLA_UNSUPPORTED);
  EXPECT_STREQ(flashmla_last_error_argument(), "problem");
}

TEST(CApi, ThreadsAndTokenSizes) {
  std::int32_t threads = 0;
  EXPECT_EQ(flashmla_set_cpu_threads(3), FLASHMLA_OK);
  EXPECT_EQ(flashmla_cpu_threads(&threads), FLASHMLA_OK);
  EXPECT_EQ(threads, 3);
  EXPECT_EQ(flashmla_set_cpu_threads(0), FLASHMLA_OK);
  expect_c_rejected(flashmla_set_cpu_threads(-1), "threads", "-1");
  std::int64_t bytes = 0;
  EXPECT_EQ(flashmla_token_bytes(FLASHMLA_KV_V4, 0, &bytes), FLASHMLA_OK);
  EXPECT_EQ(bytes, 584);
  EXPECT_EQ(flashmla_token_bytes(FLASHMLA_KV_BF16, 576, &bytes), FLASHMLA_OK);
  EXPECT_EQ(bytes, 1152);
  expect_c_rejected(flashmla_token_bytes(4, 576, &bytes), "kv_format", "4");
  EXPECT_EQ(flashmla_set_log_callback([](const char*, std::size_t, void*) {}, nullptr),
            FLASHMLA_OK);
  EXPECT_EQ(flashmla_set_log_callback(nullptr, nullptr), FLASHMLA_OK);
  EXPECT_EQ(flashmla_version(), version());
}

TEST(CApi, ErrorsBelongToTheirThread) {
  expect_c_rejected(flashmla_set_cpu_threads(-5), "threads", "-5");
  std::thread([] {
    EXPECT_STREQ(flashmla_last_error(), "");
    expect_c_rejected(flashmla_set_cpu_threads(-6), "threads", "-6");
  }).join();
  EXPECT_STREQ(flashmla_last_error_given(), "-5");
}

TEST(CApi, LongErrorsAreCut) {
  const std::string name(5000, 'n');
  const flashmla_problem problem = c_problem(SmallCall().problem);
  EXPECT_EQ(flashmla_refusal(name.c_str(), &problem, nullptr, 0, nullptr),
            FLASHMLA_INVALID_ARGUMENT);
  EXPECT_EQ(std::strlen(flashmla_last_error()), 2047u);
}

}  // namespace
}  // namespace flashmla::tests
