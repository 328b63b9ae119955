// The kernel for tiles of 16 or 32 rows: it sets barriers and starts the roles. There are one
// consumer warpgroup, one warp that loads keys and one that loads queries. In a cluster of two,
// neighbouring tiles share every block of keys.
#pragma once

#include "sm90/kernels/dense_decode/swap_ab/consume.h"
#include "sm90/kernels/dense_decode/swap_ab/producer.h"
#include "sm90/kernels/dense_decode/touch_params.h"
#include "sm90/pipeline/cluster.h"
#include "sm90/ptx/grid_dependency.h"
#include "sm90/tile/limits.h"

namespace flashmla::sm90::dense_decode::swap_ab {

template <int Chunks, int Rows, int ClusterSize>
using Queries = QueryLoader<SharedAddresses<Chunks, Rows>, Chunks, Rows, ClusterSize>;

template <int Chunks, int Rows, int ClusterSize>
FLASHMLA_DEVICE void initialise_barriers(const SharedAddresses<Chunks, Rows>& shared,
                                         const Params& p) {
  shared.key_ring().initialise(p.gathered ? 32 : 1, consumer_warps * ClusterSize);
  shared.query_ring().initialise(Queries<Chunks, Rows, ClusterSize>::writers(p), consumer_threads);
  ptx::fence_mbarrier_init();
  ptx::fence_async_proxy();
}

// The launch bound has more threads than the kernel, so that a thread has 128 registers and four
// thread blocks of combine fit beside one of this kernel.
template <int Rows>
inline constexpr int register_threads = Rows == 16 ? 512 : threads;

template <class T, int Chunks, int Rows, int ClusterSize>
__global__ void __launch_bounds__(register_threads<Rows>, 1)
    decode(const __grid_constant__ Maps maps, const __grid_constant__ Params p) {
  extern __shared__ __align__(1024) std::uint8_t bytes[];
  auto& storage = *reinterpret_cast<SharedStorage<Chunks, Rows>*>(bytes);
  const auto base = static_cast<std::uint32_t>(__cvta_generic_to_shared(bytes));
  if ((base & tile::address_in_cta) != tile::shared_start)
    __trap();
  const SharedAddresses<Chunks, Rows> shared{ClusterSize == 1 ? tile::shared_start : base};
  const std::uint32_t warp = ptx::uniform(threadIdx.x / 32);
  if (warp > consumer_warps) {
    Queries<Chunks, Rows, ClusterSize>(p, &maps.queries, shared, storage.segments).load_all([&] {
      pipeline::join_cluster<ClusterSize>(barriers_set_for_queries, 2 * 32);
    });
  } else {
    if (threadIdx.x == 0) {
      storage.segments.initialise(key_loader_threads);
      initialise_barriers<Chunks, Rows, ClusterSize>(shared, p);
    }
    if (warp == 0) {
      ptx::barrier_arrive(barriers_set_for_queries, 2 * 32);
    } else if (warp == consumer_warps && ptx::elected()) {
      ptx::prefetch_tensor_map(&maps.keys);
      ptx::prefetch_tensor_map(&maps.queries);
      touch(p, shared.sink());
    }
    pipeline::join_cluster<ClusterSize>(barriers_set, threads - 32);
    if (warp < consumer_warps) {
      consume<T, Chunks, Rows, ClusterSize>(p, shared, storage);
    } else {
      load_keys<Chunks, Rows, ClusterSize>(p, &maps.keys, shared, storage.segments);
      // The next kernel may share the multiprocessor, but only after the copies of the last keys
      // have started.
      ptx::launch_dependents();
    }
  }
  pipeline::leave_cluster<ClusterSize>();
}

}  // namespace flashmla::sm90::dense_decode::swap_ab
