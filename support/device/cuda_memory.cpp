#include "support/device/cuda_memory.h"

#include "support/device/cuda_call.h"
#include "support/device/cuda_stopwatch.h"
#include "support/device/fill_rows.h"

namespace flashmla::support {

CudaMemory::CudaMemory(std::int32_t device) : device_(device) {
  cuda_call(cudaSetDevice(device), "cudaSetDevice");
}

std::shared_ptr<std::byte> CudaMemory::allocate(std::size_t bytes) {
  void* data = nullptr;
  cuda_call(cudaMalloc(&data, bytes), "cudaMalloc");
  return {static_cast<std::byte*>(data), [](std::byte* p) { cudaFree(p); }};
}

void CudaMemory::upload(std::byte* to, std::span<const std::byte> from) {
  cuda_call(cudaMemcpy(to, from.data(), from.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
}

void CudaMemory::download(std::span<std::byte> to, const std::byte* from) {
  cuda_call(cudaMemcpy(to.data(), from, to.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
}

void CudaMemory::set_bytes(std::byte* to, std::byte value, std::size_t bytes) {
  cuda_call(cudaMemsetAsync(to, std::to_integer<int>(value), bytes), "cudaMemsetAsync");
}

void CudaMemory::fill_rows(std::byte* to, DType type, std::int64_t columns,
                           const std::uint64_t* keys, std::int64_t rows) {
  launch_fill_rows(reinterpret_cast<std::uint16_t*>(to), type, columns, keys, rows);
}

void CudaMemory::wait() {
  cuda_call(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

std::unique_ptr<Stopwatch> CudaMemory::stopwatch() {
  return std::make_unique<CudaStopwatch>();
}

}  // namespace flashmla::support
