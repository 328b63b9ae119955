#include "support/device/memory_of.h"

#if defined(FLASHMLA_HAS_CUDA)
#include "support/device/cuda_memory.h"
#endif

namespace flashmla::support {

std::unique_ptr<Memory> memory_of(std::string_view backend) {
  if (backend == "cpu")
    return std::make_unique<HostMemory>();
#if defined(FLASHMLA_HAS_CUDA)
  if (backend == "cuda")
    return std::make_unique<CudaMemory>(0);
#endif
  return nullptr;
}

}  // namespace flashmla::support
