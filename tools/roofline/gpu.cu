#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>
#include <functional>

#include "support/device/cuda_call.h"
#include "support/device/event.h"
#include "tools/roofline/gpu.h"

namespace flashmla::tools {

namespace {

using support::cuda_call;
using support::Event;

constexpr int repeats = 20;  // clocks may have to rise first

// Every thread has `loads` loads of 16 bytes under way.
constexpr int read_threads = 512;
constexpr int loads = 8;

__global__ void __launch_bounds__(read_threads)
    read_all(const uint4* words, std::int64_t count, unsigned* sums) {
  const std::int64_t step = std::int64_t{gridDim.x} * read_threads;
  unsigned sum = 0;
  for (std::int64_t i = std::int64_t{blockIdx.x} * read_threads + threadIdx.x; i < count;
       i += loads * step) {
    uint4 read[loads];
#pragma unroll
    for (int n = 0; n < loads; ++n)
      read[n] = i + n * step < count ? __ldcs(words + i + n * step) : uint4{};
#pragma unroll
    for (int n = 0; n < loads; ++n)
      sum += read[n].x ^ read[n].y ^ read[n].z ^ read[n].w;
  }
  if (sum == 0x9e3779b9u)  // keeps the loads, and hardly ever stores
    sums[blockIdx.x] = sum;
}

// Two warpgroups, each with a product of 64 × 128 × 64 on tiles in 128-byte swizzle.
constexpr int product_threads = 256;
constexpr int rows = 64;
constexpr int columns = 128;
constexpr int depth = 64;
constexpr int a_numbers = rows * depth;
constexpr int b_numbers = columns * depth;
constexpr std::size_t shared_bytes =
    2 * (a_numbers + b_numbers) * sizeof(__nv_bfloat16) + 1024;  // and alignment

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define FLASHMLA_EIGHT(d, i)                                                          \
  "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3]), "+f"(d[(i) + 4]), \
      "+f"(d[(i) + 5]), "+f"(d[(i) + 6]), "+f"(d[(i) + 7])

// d += A · B, 64 × 128 × 16.
__device__ void multiply_add(float (&d)[64], std::uint64_t a, std::uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, "
      "%8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, "
      "%26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "
      "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, "
      "%62, %63}, %64, %65, 1, 1, 1, 0, 0;"
      : FLASHMLA_EIGHT(d, 0), FLASHMLA_EIGHT(d, 8), FLASHMLA_EIGHT(d, 16), FLASHMLA_EIGHT(d, 24),
        FLASHMLA_EIGHT(d, 32), FLASHMLA_EIGHT(d, 40), FLASHMLA_EIGHT(d, 48), FLASHMLA_EIGHT(d, 56)
      : "l"(a), "l"(b));
}

#undef FLASHMLA_EIGHT

// Rows of 128 bytes in groups of 8, swizzled.
__device__ std::uint64_t descriptor(const __nv_bfloat16* tile) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(tile));
  return (address & 0x3FFFF) >> 4 | std::uint64_t{1} << 16 | std::uint64_t{1024 >> 4} << 32 |
         std::uint64_t{1} << 62;
}
#endif

__global__ void __launch_bounds__(product_threads) multiply(int rounds, float* sums) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ unsigned char shared[];
  const auto start = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  auto* const tiles = reinterpret_cast<__nv_bfloat16*>(shared + ((1024 - start % 1024) % 1024));
  // Numbers of all kinds: products of zeros would be faster.
  for (int i = threadIdx.x; i < 2 * (a_numbers + b_numbers); i += product_threads) {
    const std::uint32_t hash = (i + 1) * 0x9e3779b1u;
    tiles[i] = __float2bfloat16(static_cast<float>(static_cast<int>(hash >> 8)) * 0x1p-24f - 0.5f);
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  const __nv_bfloat16* const a = tiles + threadIdx.x / 128 * (a_numbers + b_numbers);
  const std::uint64_t a_place = descriptor(a);
  const std::uint64_t b_place = descriptor(a + a_numbers);
  float d[64] = {};
  for (int round = 0; round < rounds; ++round) {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int k = 0; k < depth / 16; ++k)
      multiply_add(d, a_place + 2 * k, b_place + 2 * k);
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  }
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 64; ++i)
    sum += d[i];
  if (sum == 12345.678f)
    sums[threadIdx.x] = sum;
#endif
}

// The fastest of some runs, the first of which warms up.
double min_seconds(const std::function<void()>& launch) {
  const Event begin;
  const Event end;
  double least = 0;
  for (int i = 0; i <= repeats; ++i) {
    begin.record(nullptr);
    launch();
    cuda_call(cudaGetLastError(), "launch");
    end.record(nullptr);
    const double seconds = end.seconds_since(begin);
    least = i <= 1 ? seconds : std::min(least, seconds);
  }
  return least;
}

class DeviceBytes {
 public:
  explicit DeviceBytes(std::size_t bytes) {
    cuda_call(cudaMalloc(&data_, bytes), "cudaMalloc");
    cuda_call(cudaMemset(data_, 1, bytes), "cudaMemset");
  }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;
  ~DeviceBytes() { cudaFree(data_); }

  void* get() const { return data_; }

 private:
  void* data_ = nullptr;
};

}  // namespace

Roofline gpu_roofline(int index) {
  cuda_call(cudaSetDevice(index), "cudaSetDevice");
  int multiprocessors = 0;
  cuda_call(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, index),
            "cudaDeviceGetAttribute");
  const DeviceBytes sums(std::size_t{1} << 20);

  constexpr std::size_t bytes = std::size_t{4} << 30;
  const DeviceBytes words(bytes);
  const double read_seconds = min_seconds([&] {
    read_all<<<4 * multiprocessors, read_threads>>>(static_cast<const uint4*>(words.get()),
                                                    bytes / sizeof(uint4),
                                                    static_cast<unsigned*>(sums.get()));
  });

  constexpr int rounds = 4000;
  cuda_call(cudaFuncSetAttribute(multiply, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shared_bytes)),
            "cudaFuncSetAttribute");
  const double product_seconds = min_seconds([&] {
    multiply<<<multiprocessors, product_threads, shared_bytes>>>(rounds,
                                                                 static_cast<float*>(sums.get()));
  });
  const double flop = 2.0 * rows * columns * depth * 2 * rounds * multiprocessors;
  return {.bytes_per_second = static_cast<double>(bytes) / read_seconds,
          .flop_per_second = flop / product_seconds};
}

}  // namespace flashmla::tools
