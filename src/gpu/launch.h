// Launches a kernel that may start before the previous one has ended (programmatic dependent
// launch). Every kernel of the library waits for its prerequisites itself.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "gpu/cuda_check.h"

namespace flashmla::gpu {

struct LaunchShape {
  std::uint32_t blocks;            // thread blocks along x
  std::uint32_t threads;           // of a thread block
  std::uint32_t shared_bytes = 0;  // dynamic shared memory of a thread block
  std::uint32_t cluster = 1;       // cluster size: thread blocks along x
  std::uint32_t blocks_y = 1;
};

template <class... Parameters>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, void* stream,
            const Parameters&... parameters) {
  cudaLaunchAttribute attributes[2]{};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {shape.cluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(shape.blocks, shape.blocks_y);
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = attributes;
  config.numAttrs = shape.cluster > 1 ? 2 : 1;
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&parameters))...};
  check(cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), pointers),
        "cudaLaunchKernelExC");
}

}  // namespace flashmla::gpu
