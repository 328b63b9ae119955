// What the log callback is told at first calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "flashmla/c_api.h"
#include "small_call.h"

namespace flashmla::tests {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class FirstCalls : public testing::Test {
 protected:
  ~FirstCalls() override { set_log_callback({}); }

  void listen() {
    set_log_callback([this](std::string_view message) {
      const std::scoped_lock lock(mutex_);
      messages_.emplace_back(message);
    });
  }

  static void call(const Plan& plan, const SmallCall& small) {
    const AlignedBytes run_memory(plan.run_workspace_bytes());
    run(plan, small.inputs, small.outputs, run_memory.workspace());
  }

  void plan_and_call(const SmallCall& small, int calls = 1) {
    Plan plan = make_plan(small.problem);
    const AlignedBytes plan_memory(plan.plan_workspace_bytes());
    plan.schedule(small.lengths, plan_memory.workspace());
    for (int i = 0; i < calls; ++i)
      call(plan, small);
  }

  std::mutex mutex_;
  std::vector<std::string> messages_;
};

const auto bf16_line = AllOf(StartsWith("dense_decode bf16, cache bf16: kernel "),
                             HasSubstr(", tiles of "), EndsWith(" rows, on cpu:0"));

TEST_F(FirstCalls, OneLineForEachKindOfKernel) {
  const SmallCall small;
  plan_and_call(small);
  EXPECT_THAT(messages_, ElementsAre());
  listen();
  plan_and_call(small, 2);
  plan_and_call(small);
  EXPECT_THAT(messages_, ElementsAre(bf16_line));
  SmallCall half;
  half.problem.query_type = DType::fp16;
  half.problem.kv_format = KvFormat::fp16;
  half.inputs.q.dtype = half.inputs.kv_cache.dtype = half.outputs.out.dtype = DType::fp16;
  plan_and_call(half);
  EXPECT_THAT(messages_,
              ElementsAre(bf16_line, StartsWith("dense_decode fp16, cache fp16: kernel ")));
}

TEST_F(FirstCalls, NoLineOfACallThatIsRefused) {
  SmallCall small;
  listen();
  small.inputs.q.shape[3] = 575;
  EXPECT_THROW(plan_and_call(small), Error);
  EXPECT_THAT(messages_, ElementsAre());
}

// Also of a plan that an earlier callback was told of.
TEST_F(FirstCalls, EachCallbackIsTold) {
  const SmallCall small;
  Plan plan = make_plan(small.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  plan.schedule(small.lengths, plan_memory.workspace());
  for (int i = 0; i < 2; ++i) {
    listen();
    call(plan, small);
    call(plan, small);
  }
  EXPECT_THAT(messages_, ElementsAre(bf16_line, bf16_line));
}

TEST_F(FirstCalls, ThreadsAreToldOnce) {
  listen();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([this] { plan_and_call(SmallCall(), 3); });
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_THAT(messages_, ElementsAre(bf16_line));
}

TEST_F(FirstCalls, ThroughC) {
  const auto append = [](const char* message, std::size_t length, void* user) {
    static_cast<std::vector<std::string>*>(user)->emplace_back(message, length);
  };
  ASSERT_EQ(flashmla_set_log_callback(append, &messages_), FLASHMLA_OK);
  plan_and_call(SmallCall(), 2);
  EXPECT_THAT(messages_, ElementsAre(bf16_line));
}

}  // namespace
}  // namespace flashmla::tests
