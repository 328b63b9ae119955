#include "support/device/cuda_memory.h"

#include "support/device/cuda_call.h"

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

}  // namespace flashmla::support
