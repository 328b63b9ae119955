#include "support/device/gpu_facts.h"

#if defined(FLASHMLA_HAS_CUDA)
#include <cuda_runtime_api.h>

#include <fstream>
#include <sstream>

#include "support/device/cuda_call.h"
#endif

namespace flashmla::support {

#if defined(FLASHMLA_HAS_CUDA)

namespace {

// The first word with a dot and digits alone in the line of the kernel module.
std::string driver_version() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  std::istringstream words(line);
  for (std::string word; words >> word;)
    if (word.find('.') != std::string::npos &&
        word.find_first_not_of("0123456789.") == std::string::npos)
      return word;
  int version = 0;
  cuda_call(cudaDriverGetVersion(&version), "cudaDriverGetVersion");
  return "CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

std::optional<GpuFacts> gpu_facts(std::int32_t index) {
  cuda_call(cudaSetDevice(index), "cudaSetDevice");
  cudaDeviceProp properties{};
  cuda_call(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  GpuFacts facts{.name = properties.name,
                 .driver = driver_version(),
                 .multiprocessors = properties.multiProcessorCount};
  cuda_call(cudaMemGetInfo(&facts.free_bytes, &facts.memory_bytes), "cudaMemGetInfo");
  return facts;
}

#else

std::optional<GpuFacts> gpu_facts(std::int32_t /*index*/) {
  return std::nullopt;
}

#endif

}  // namespace flashmla::support
