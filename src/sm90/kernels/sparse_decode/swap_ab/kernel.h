// The sparse kernel for tiles of 16 or 32 rows: it sets barriers and starts the roles. There are two
// consumer warpgroups (consume.h). Of the other eight warps one reads the index lists and seven
// gather cached rows.
#pragma once

#include "sm90/kernels/sparse_decode/gather.h"
#include "sm90/kernels/sparse_decode/slot_reader.h"
#include "sm90/kernels/sparse_decode/swap_ab/consume.h"
#include "sm90/ptx/grid_dependency.h"
#include "sm90/tile/limits.h"

namespace flashmla::sm90::sparse_decode::swap_ab {

template <class Shared>
FLASHMLA_DEVICE void initialise_barriers(const Shared& shared) {
  shared.key_ring().initialise(groups_of_block, 2 * consumer_warps);
  shared.weight_ring().initialise(consumer_warps, consumer_warps);
  shared.slot_ring().initialise(1, groups_of_block);
  shared.segment_ring().initialise(1, 1);
  ptx::fence_mbarrier_init();
  ptx::fence_async_proxy();
}

template <class Format, int Rows>
__global__ void __launch_bounds__(threads, 1) decode(const __grid_constant__ Params p) {
  using R = Room<Format, Rows>;
  extern __shared__ __align__(1024) std::uint8_t bytes[];
  auto& storage = *reinterpret_cast<typename R::Storage*>(bytes);
  if (static_cast<std::uint32_t>(__cvta_generic_to_shared(bytes)) != tile::shared_start)
    __trap();
  const typename R::Shared shared{tile::shared_start};
  const auto warp = static_cast<int>(ptx::uniform(threadIdx.x / 32));
  if (threadIdx.x == 0)
    initialise_barriers(shared);
  __syncthreads();
  constexpr int reader = 2 * consumer_warps;
  if (warp < consumer_warps) {
    if constexpr (Rows == 32)
      ptx::lower_registers<scorer_registers>();
    Scorers<R>(p, shared, storage).score_all();
  } else if (warp < reader) {
    if constexpr (Rows == 32)
      ptx::raise_registers<valuer_registers>();
    Valuers<R>(p, shared, storage).value_all();
  } else {
    if constexpr (Rows == 32)
      ptx::lower_registers<gather_registers>();
    if (warp == reader) {
      SlotReader<R, Rows>(p, shared, storage).read_all();
      ptx::launch_dependents();
    } else {
      gather<R>(p, shared, storage, warp - reader - 1);
    }
  }
}

}  // namespace flashmla::sm90::sparse_decode::swap_ab
