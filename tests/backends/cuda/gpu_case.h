// A dense case on a GPU, in single calls, for tests that do something between the calls.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "flashmla/decode.h"
#include "support/device/cuda_call.h"
#include "support/device/memory_of.h"
#include "support/generate.h"
#include "tests/backends/backend_types.h"

namespace flashmla::backends::cuda {

class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = unusable("cuda"); !reason.empty())
      GTEST_SKIP() << reason;
    memory_ = support::memory_of("cuda");
  }

  std::unique_ptr<support::Memory> memory_;
};

// A stream of a test, which also ends when the test fails.
class Stream {
 public:
  Stream() { support::cuda_call(cudaStreamCreate(&stream_), "cudaStreamCreate"); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream_); }

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

struct GpuCase {
  support::DenseTensors tensors;
  Plan plan;
  support::GuardedBuffer plan_workspace;
  support::GuardedBuffer run_workspace;

  GpuCase(const support::DenseCase& dense_case, support::Memory& memory)
      : tensors(dense_case, memory),
        plan(make_plan(support::problem_of(dense_case, memory.device()))),
        plan_workspace(memory, plan.plan_workspace_bytes()),
        run_workspace(memory, plan.run_workspace_bytes()) {
    plan_workspace.upload();
    run_workspace.upload();
  }

  void schedule(const TensorView& lengths, void* stream = nullptr) {
    plan.schedule(lengths, {plan_workspace.data(), plan_workspace.bytes()}, stream);
  }

  void run(void* stream = nullptr) {
    flashmla::run(plan, tensors.inputs(), tensors.outputs(),
                  {run_workspace.data(), run_workspace.bytes()}, stream);
  }

  void poison_outputs() {
    tensors.out.buffer.upload();
    tensors.lse.buffer.upload();
  }

  // The contents of out and lse, after all work has ended.
  std::vector<std::byte> results() const {
    support::cuda_call(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    std::vector<std::byte> bytes = tensors.out.buffer.download();
    const std::vector<std::byte> lse = tensors.lse.buffer.download();
    bytes.insert(bytes.end(), lse.begin(), lse.end());
    return bytes;
  }
};

}  // namespace flashmla::backends::cuda
