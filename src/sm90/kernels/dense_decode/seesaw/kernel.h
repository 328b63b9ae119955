// The kernel for more than 32 rows of a KV head: it sets barriers and starts the roles. A CTA
// computes tiles of 64 rows with two consumer warpgroups. In a cluster of two or four, neighbouring
// tiles share every block of keys. docs/kernels.md has a picture.
#pragma once

#include "sm90/kernels/dense_decode/seesaw/left_consumer.h"
#include "sm90/kernels/dense_decode/seesaw/producer.h"
#include "sm90/kernels/dense_decode/seesaw/right_consumer.h"
#include "sm90/kernels/dense_decode/touch_params.h"
#include "sm90/pipeline/cluster.h"
#include "sm90/ptx/grid_dependency.h"
#include "sm90/tile/limits.h"

namespace flashmla::sm90::dense_decode::seesaw {

template <int Chunks, int ClusterSize>
using Queries = QueryLoader<SharedAddresses<Chunks>, Chunks, tile_rows, ClusterSize>;

template <int Chunks, int ClusterSize>
FLASHMLA_DEVICE void initialise_barriers(const SharedAddresses<Chunks>& shared, const Params& p) {
  for (int buffer = 0; buffer < 2; ++buffer) {
    for (int part = 0; part < key_parts; ++part)
      shared.key_ring(buffer, part).initialise(p.gathered ? 32 : 1, ClusterSize);
    shared.tail_landing(buffer).initialise(key_parts - first_part<Chunks>);
  }
  for (int side = 0; side < 2; ++side)
    shared.handoff().initialise(side, warpgroup_threads);
  shared.query_ring().initialise(Queries<Chunks, ClusterSize>::writers(p), consumer_threads);
  ptx::fence_mbarrier_init();
  ptx::fence_async_proxy();
}

// The work of the warp that loads nothing: it helps the other warps and the next kernel.
template <int ClusterSize>
FLASHMLA_DEVICE void prepare(const Maps& maps, const Params& p, std::uint32_t sink) {
  if (ptx::elected()) {
    touch(p, sink);
    ptx::prefetch_tensor_map(&maps.keys);
    ptx::prefetch_tensor_map(&maps.rope_keys);
    ptx::prefetch_tensor_map(&maps.queries);
  }
  if (!runs_beside<tile_rows, ClusterSize>(p))
    ptx::wait_for_prerequisites();
  ptx::launch_dependents();
}

template <class T, int Chunks, int ClusterSize>
__global__ void __launch_bounds__(threads, 1)
    decode(const __grid_constant__ Maps maps, const __grid_constant__ Params p) {
  extern __shared__ __align__(1024) std::uint8_t bytes[];
  auto& storage = *reinterpret_cast<SharedStorage<Chunks>*>(bytes);
  const auto base = static_cast<std::uint32_t>(__cvta_generic_to_shared(bytes));
  if ((base & tile::address_in_cta) != tile::shared_start)
    __trap();
  const SharedAddresses<Chunks> shared{ClusterSize == 1 ? tile::shared_start : base};
  const std::uint32_t role = ptx::uniform(threadIdx.x / warpgroup_threads);

  if (role == 2) {
    ptx::lower_registers<loader_registers>();
    const std::uint32_t warp = ptx::uniform(threadIdx.x / 32 % 4);
    if (warp == 2) {
      Queries<Chunks, ClusterSize>(p, &maps.queries, shared, storage.segments).load_all([&] {
        pipeline::join_cluster<ClusterSize>(barriers_set_for_queries, 2 * 32);
      });
    } else {
      if (warp == 3)
        prepare<ClusterSize>(maps, p, shared.sink());
      pipeline::join_cluster<ClusterSize>(barriers_set_for_keys, 4 * 32);
      if (warp == 0)
        load_keys<Chunks, ClusterSize, 0>(p, maps, shared, storage.segments);
      else if (warp == 1)
        load_keys<Chunks, ClusterSize, 1>(p, maps, shared, storage.segments);
    }
  } else {
    if (threadIdx.x == 0) {
      storage.segments.initialise(key_loader_threads);
      initialise_barriers<Chunks, ClusterSize>(shared, p);
    }
    if (threadIdx.x < 32) {
      ptx::barrier_arrive(barriers_set_for_queries, 2 * 32);
      ptx::barrier_arrive(barriers_set_for_keys, 4 * 32);
    }
    pipeline::join_cluster<ClusterSize>(barriers_set, consumer_threads);
    ptx::raise_registers<consumer_registers>();
    if (role == 0)
      consume_left<T, Chunks, ClusterSize>(p, shared, storage.segments);
    else
      consume_right<T, Chunks, ClusterSize>(p, shared, storage.segments);
  }
  if (runs_beside<tile_rows, ClusterSize>(p))
    ptx::wait_for_prerequisites();
  pipeline::leave_cluster<ClusterSize>();
}

}  // namespace flashmla::sm90::dense_decode::seesaw
