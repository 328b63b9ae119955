// Thread-block clusters.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ptx {

FLASHMLA_DEVICE std::uint32_t cluster_rank() {
  std::uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// Waits for all threads of the cluster. NOTE: the arrival is relaxed, because the default is a
// fence of the whole GPU. Only initialised barriers have to be ordered, and these have their own
// fence.
FLASHMLA_DEVICE void cluster_sync() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;" ::
                   : "memory");
}

}  // namespace flashmla::sm90::ptx
