#include "backends/cuda/load_kernel.h"

#include <cuda_runtime_api.h>

#include <atomic>
#include <vector>

#include "gpu/cuda_check.h"
#include "gpu/device_info.h"

namespace flashmla::backends::cuda {

namespace {

namespace dense = sm90::dense_decode;
using gpu::check;

// The number for a loaded kernel, on the current device.
int clusters_at_once(const dense::Kernel& kernel) {
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(kernel.cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(kernel.cluster));
  config.blockDim = dim3(kernel.threads);
  config.dynamicSmemBytes = kernel.shared_bytes;
  config.attrs = &cluster;
  config.numAttrs = 1;
  int clusters = 0;
  check(cudaOccupancyMaxActiveClusters(&clusters, reinterpret_cast<const void*>(kernel.function),
                                       &config),
        "cudaOccupancyMaxActiveClusters");
  return clusters;
}

}  // namespace

void load_kernel(const void* function, std::uint32_t shared_bytes) {
  check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes)),
        "cudaFuncSetAttribute");
  // By default the driver makes so little of a multiprocessor's memory shared memory that no thread
  // block of combine fits beside the kernel.
  check(cudaFuncSetAttribute(function, cudaFuncAttributePreferredSharedMemoryCarveout,
                             cudaSharedmemCarveoutMaxShared),
        "cudaFuncSetAttribute");
}

void load_kernel(const dense::Kernel& kernel) {
  load_kernel(reinterpret_cast<const void*>(kernel.function), kernel.shared_bytes);
}

std::int64_t max_clusters_of_four(std::int32_t device) {
  // 1 + the answer of the runtime; 0: not asked yet. Threads that ask at the same time get the same
  // answer.
  static std::vector<std::atomic<int>> known(gpu::devices().list.size());
  std::atomic<int>& of_device = known[static_cast<std::size_t>(device)];
  if (of_device == 0) {
    const gpu::DeviceScope scope(device);
    // A CTA of every instance has a multiprocessor to itself, so that the answer for one instance
    // holds for all.
    const dense::Kernel& four = *dense::find_kernel(KvFormat::bf16, 576, {schedule::large_tile, 4});
    load_kernel(four);
    of_device = 1 + clusters_at_once(four);
  }
  return of_device - 1;
}

}  // namespace flashmla::backends::cuda
