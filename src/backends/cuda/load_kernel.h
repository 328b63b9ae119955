// Loading a decoding kernel, and asking the runtime how many clusters of it a device runs.
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/table.h"

namespace flashmla::backends::cuda {

// Loads the kernel on the current device and allows the dynamic shared memory that it needs.
void load_kernel(const void* function, std::uint32_t shared_bytes);
void load_kernel(const sm90::dense_decode::Kernel& kernel);

// How many clusters of four tiles of 64 rows a device runs at the same time. This is fewer than a
// quarter of its multiprocessors: a cluster lies within one group of them, whose size need not be a
// multiple of four. The runtime is asked once for each device.
std::int64_t max_clusters_of_four(std::int32_t device);

}  // namespace flashmla::backends::cuda
