#include "support/device/graph_timer.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "support/device/cuda_call.h"
#include "tests/support/device/gpu_test.h"

namespace flashmla::support {
namespace {

class GraphTimerTest : public GpuTest {};

TEST_F(GraphTimerTest, TimesWhatTheGraphHolds) {
  constexpr std::size_t bytes = std::size_t{1} << 30;
  const auto data = memory_->allocate(bytes);
  GraphTimer timer(*memory_);
  const auto set = [&](int times) {
    return timer.time(
        [&](void* stream) {
          for (int i = 0; i < times; ++i)
            cuda_call(cudaMemsetAsync(data.get(), i, bytes, static_cast<cudaStream_t>(stream)),
                      "cudaMemsetAsync");
        },
        10, 0.02);
  };
  const GraphTimes once = set(1);
  const GraphTimes four = set(4);
  EXPECT_EQ(once.cold.size(), 10u);
  EXPECT_GE(once.hot * static_cast<double>(once.hot_replays), 0.02);
  EXPECT_GT(once.hot, 1e-4);
  EXPECT_NEAR(four.hot / once.hot, 4, 0.8);
  EXPECT_NEAR(std::ranges::min(four.cold) / std::ranges::min(once.cold), 4, 0.8);
}

TEST_F(GraphTimerTest, WorkThatThrowsLeavesNoCapture) {
  GraphTimer timer(*memory_);
  EXPECT_THROW(timer.time([](void*) { throw std::runtime_error("no"); }, 10, 0.01),
               std::runtime_error);
  EXPECT_NO_THROW(timer.time([](void*) {}, 10, 0.0));
}

}  // namespace
}  // namespace flashmla::support
