#include "gpu/device_info.h"

#include <cuda_runtime_api.h>

#include "core/text.h"
#include "gpu/cuda_check.h"

namespace flashmla::gpu {

namespace {

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

double memory_rate_of(int device) {
  constexpr double transfers_per_clock = 2;
  const double clock_khz = attribute(cudaDevAttrMemoryClockRate, device);
  const double bus_bits = attribute(cudaDevAttrGlobalMemoryBusWidth, device);
  return transfers_per_clock * clock_khz * 1e3 * bus_bits / 8;
}

DeviceInfo info_of(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return {.name = properties.name,
          .major = properties.major,
          .minor = properties.minor,
          .multiprocessors = properties.multiProcessorCount,
          .shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
          .memory_bytes_per_second = memory_rate_of(device)};
}

Devices find_devices() {
  Devices found;
  int count = 0;
  if (const cudaError_t result = cudaGetDeviceCount(&count); result != cudaSuccess) {
    cudaGetLastError();
    found.reason =
        text("the CUDA runtime finds no usable driver or GPU: ", cudaGetErrorString(result));
    return found;
  }
  for (int device = 0; device < count; ++device)
    found.list.push_back(info_of(device));
  if (count == 0)
    found.reason = "there is no GPU";
  return found;
}

}  // namespace

const Devices& devices() {
  static const Devices found = find_devices();
  return found;
}

DeviceScope::DeviceScope(std::int32_t index) {
  check(cudaGetDevice(&before_), "cudaGetDevice");
  if (before_ == index)
    return;
  check(cudaSetDevice(index), "cudaSetDevice");
  changed_ = true;
}

DeviceScope::~DeviceScope() {
  if (changed_)
    cudaSetDevice(before_);
}

}  // namespace flashmla::gpu
