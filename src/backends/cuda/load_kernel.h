// Making a dense decoding kernel ready, and asking the runtime how much of a device it fills.
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/table.h"

namespace flashmla::backends::cuda {

// Loads it on the current device, with all the shared memory that it asks for.
void load_kernel(const sm90::dense_decode::Kernel& kernel);

// How many clusters of four tiles of 64 rows a device runs at once. Not a quarter of its
// multiprocessors: a cluster lies within one group of them, which need not hold a multiple of four.
// The runtime is asked for it once a device.
std::int64_t max_clusters_of_four(std::int32_t device);

}  // namespace flashmla::backends::cuda
