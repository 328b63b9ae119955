// What a report says about the GPU of its figures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace flashmla::support {

struct GpuFacts {
  std::string name;    // "NVIDIA H200"
  std::string driver;  // "580.95"; the CUDA version that it has where the system does not say
  int multiprocessors = 0;
  std::size_t memory_bytes = 0;
  std::size_t free_bytes = 0;
};

// The facts of GPU `index`; none in a build without CUDA. Throws std::runtime_error where there is
// no such GPU.
std::optional<GpuFacts> gpu_facts(std::int32_t index);

}  // namespace flashmla::support
