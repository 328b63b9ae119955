// Operations of a CTA with all CTAs of its cluster, which include itself. With cluster size 1 they
// cost no more than without clusters.
#pragma once

#include <cstdint>

#include "sm90/ptx/cluster.h"
#include "sm90/ptx/mbarrier.h"
#include "sm90/ptx/tma.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::pipeline {

// Waits at the named barrier, and then for the cluster. Afterwards all threads see what was written
// in front of either wait. Every warp calls the function once, at a barrier of its own.
template <int ClusterSize>
FLASHMLA_DEVICE void join_cluster(int barrier, int barrier_threads) {
  ptx::barrier_sync(barrier, barrier_threads);
  if constexpr (ClusterSize > 1)
    ptx::cluster_sync();
}

// Every warp calls this at the end of a kernel: no CTA may end while another one may still write to
// its memory.
template <int ClusterSize>
FLASHMLA_DEVICE void leave_cluster() {
  if constexpr (ClusterSize > 1) {
    __syncwarp();
    ptx::cluster_sync();
  }
}

// Copies a box of a tensor map to the same shared address in every CTA.
template <int ClusterSize>
FLASHMLA_DEVICE void load_to_cluster(std::uint32_t target, const CUtensorMap* map,
                                     std::uint32_t barrier, const ptx::BoxPlace& place,
                                     std::uint64_t policy) {
  if constexpr (ClusterSize == 1)
    ptx::tma_load(target, map, barrier, place, policy);
  else
    ptx::tma_load_multicast(target, map, barrier, place, (1 << ClusterSize) - 1, policy);
}

// Arrives once at the mbarrier of every CTA that has the same shared address. `thread` is the
// number of the caller among the calling threads, of which there are at least as many as CTAs.
template <int ClusterSize>
FLASHMLA_DEVICE void arrive_at_cluster(std::uint32_t barrier, int thread) {
  if constexpr (ClusterSize == 1) {
    if (thread == 0)
      ptx::mbarrier_arrive(barrier);
  } else {
    if (thread < ClusterSize)
      ptx::mbarrier_arrive_cluster(barrier, thread);
  }
}

}  // namespace flashmla::sm90::pipeline
