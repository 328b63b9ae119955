// The kernel for at most 32 rows of a KV head: sets barriers and roles. One consumer warpgroup, a
// warp that loads keys and one that loads queries.
#pragma once

#include "sm90/kernels/dense_decode/few_rows/consume.h"
#include "sm90/kernels/dense_decode/few_rows/producer.h"
#include "sm90/kernels/dense_decode/touch_params.h"
#include "sm90/ptx/grid_dependency.h"

namespace flashmla::sm90::dense_decode::few_rows {

template <int Chunks, int Rows>
using Queries = QueryLoader<SharedAddresses<Chunks, Rows>, Chunks, Rows, 1>;

template <int Chunks, int Rows>
FLASHMLA_DEVICE void initialise_barriers(const Params& p) {
  using Shared = SharedAddresses<Chunks, Rows>;
  for (int slot = 0; slot < Shared::Storage::slots; ++slot) {
    ptx::mbarrier_init(Shared::keys_ready(slot), p.gathered ? 32 : 1);
    ptx::mbarrier_init(Shared::keys_free(slot), consumer_warps);
  }
  ptx::mbarrier_init(Shared::query_ready(), Queries<Chunks, Rows>::arrivals(p));
  ptx::mbarrier_init(Shared::query_free(), consumer_threads);
  ptx::fence_mbarrier_init();
  ptx::fence_async_proxy();
}

template <class T, int Chunks, int Rows>
__global__ void __launch_bounds__(threads, 1)
    decode(const __grid_constant__ Maps maps, const __grid_constant__ Params p) {
  extern __shared__ __align__(1024) std::uint8_t bytes[];
  auto& storage = *reinterpret_cast<SharedStorage<Chunks, Rows>*>(bytes);
  if (static_cast<std::uint32_t>(__cvta_generic_to_shared(bytes)) != shared_start)
    __trap();
  const std::uint32_t warp = ptx::uniform(threadIdx.x / 32);
  if (warp > consumer_warps) {
    Queries<Chunks, Rows>(p, &maps.queries, {}, storage.segments).load_all([] {
      ptx::barrier_sync(barriers_set_for_queries, 2 * 32);
    });
    return;
  }
  if (threadIdx.x == 0) {
    storage.segments.initialise(key_loader_threads);
    initialise_barriers<Chunks, Rows>(p);
  }
  if (warp == 0) {
    ptx::barrier_arrive(barriers_set_for_queries, 2 * 32);
  } else if (warp == consumer_warps && ptx::elected()) {
    ptx::prefetch_tensor_map(&maps.keys);
    ptx::prefetch_tensor_map(&maps.queries);
    touch(p, SharedAddresses<Chunks, Rows>::sink());
  }
  ptx::barrier_sync(barriers_set, threads - 32);
  if (warp < consumer_warps) {
    consume<T, Chunks, Rows>(p, storage);
  } else {
    load_keys<Chunks, Rows>(p, &maps.keys, storage.segments);
    // The kernel after this one may share the multiprocessor: not before the last keys are asked
    // for.
    ptx::launch_dependents();
  }
}

}  // namespace flashmla::sm90::dense_decode::few_rows
