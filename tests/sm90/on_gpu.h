// The GPU's half of on_device.h: memory, and kernels of one body.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "sm90/ptx/warpgroup.h"
#include "support/device/cuda_call.h"

namespace flashmla::sm90::test {

class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0)
      GTEST_SKIP() << "there is no GPU";
    cudaDeviceProp properties{};
    support::cuda_call(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    if (properties.major != 9)
      GTEST_SKIP() << properties.name << " is no Hopper GPU";
    // NOTE: a kernel that traps leaves its process without a GPU.
    support::cuda_call(cudaFree(nullptr), "the GPU, which an earlier test may have lost");
  }
};

// Memory that bodies read and write. Fresh memory has all bits set: its floats are NaN.
template <class T>
class Memory {
 public:
  explicit Memory(std::size_t count) : count_(count) {
    support::cuda_call(cudaMalloc(&data_, bytes()), "cudaMalloc");
    support::cuda_call(cudaMemset(data_, 0xff, bytes()), "cudaMemset");
  }
  explicit Memory(const std::vector<T>& values) : Memory(values.size()) {
    support::cuda_call(cudaMemcpy(data_, values.data(), bytes(), cudaMemcpyHostToDevice),
                       "cudaMemcpy");
  }
  ~Memory() { cudaFree(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  T* data() { return static_cast<T*>(data_); }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    support::cuda_call(cudaMemcpy(values.data(), data_, bytes(), cudaMemcpyDeviceToHost),
                       "cudaMemcpy");
    return values;
  }

 private:
  std::size_t bytes() const { return count_ * sizeof(T); }

  std::size_t count_;
  void* data_ = nullptr;
};

// Dynamic shared memory of a block, aligned to 1024 bytes. All of its bits are set at the start.
struct Shared {
  std::uint8_t* bytes;
  std::uint32_t address;
};

struct Shape {
  int threads = 32;
  int shared_bytes = 0;
  int blocks = 1;
  int cluster = 1;        // blocks of a cluster
  bool overlaps = false;  // may begin before the kernel in front of it has ended
};

template <class Body>
__global__ void kernel_of_body(const __grid_constant__ Body body, int shared_bytes) {
  extern __shared__ __align__(1024) std::uint8_t bytes[];
  for (int i = static_cast<int>(threadIdx.x); i < shared_bytes; i += static_cast<int>(blockDim.x))
    bytes[i] = 0xff;
  ptx::fence_async_proxy();
  __syncthreads();
  body(Shared{bytes, static_cast<std::uint32_t>(__cvta_generic_to_shared(bytes))});
}

template <class Body>
__global__ void kernel_of_threads(const __grid_constant__ Body body, int threads) {
  const int thread = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (thread < threads)
    body(thread);
}

// Starts body(Shared) in every thread of the blocks.
template <class Body>
void start_blocks(const Shape& shape, const Body& body) {
  cudaLaunchAttribute attributes[2]{};
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.blocks));
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shape.shared_bytes);
  config.attrs = attributes;
  config.numAttrs = shape.overlaps ? 2 : 1;
  auto* const kernel = &kernel_of_body<Body>;
  support::cuda_call(
      cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                           cudaFuncAttributeMaxDynamicSharedMemorySize, shape.shared_bytes),
      "cudaFuncSetAttribute");
  int shared_bytes = shape.shared_bytes;
  void* arguments[] = {const_cast<void*>(static_cast<const void*>(&body)), &shared_bytes};
  support::cuda_call(cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), arguments),
                     "cudaLaunchKernelExC");
}

// Waits for what was started. A kernel that does not end cannot be stopped: the process ends then,
// and the test fails.
inline void await_gpu() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  cudaError_t result = cudaErrorNotReady;
  while ((result = cudaStreamQuery(nullptr)) == cudaErrorNotReady) {
    if (std::chrono::steady_clock::now() > end) {
      std::fputs("the kernel has not ended after 20 s\n", stderr);
      std::_Exit(1);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  support::cuda_call(result, "the kernel of the test");
}

template <class Body>
void run_blocks(const Shape& shape, const Body& body) {
  start_blocks(shape, body);
  await_gpu();
}

// Calls body(thread) for each thread.
template <class Body>
void run_threads(int threads, const Body& body) {
  constexpr int block_threads = 128;
  const int blocks = (threads + block_threads - 1) / block_threads;
  void* arguments[] = {const_cast<void*>(static_cast<const void*>(&body)), &threads};
  support::cuda_call(cudaLaunchKernel(reinterpret_cast<const void*>(&kernel_of_threads<Body>),
                                      dim3(static_cast<unsigned>(blocks)), dim3(block_threads),
                                      arguments, 0, nullptr),
                     "cudaLaunchKernel");
  await_gpu();
}

}  // namespace flashmla::sm90::test
