// The sparse kernel for tiles of 64 rows: it sets barriers and starts the roles. Two warpgroups
// divide the columns of V (leader.h, follower.h). Of the other eight warps one reads the index
// lists and seven gather cached rows.
#pragma once

#include "sm90/kernels/sparse_decode/gather.h"
#include "sm90/kernels/sparse_decode/halves/follower.h"
#include "sm90/kernels/sparse_decode/halves/leader.h"
#include "sm90/kernels/sparse_decode/slot_reader.h"
#include "sm90/ptx/grid_dependency.h"

namespace flashmla::sm90::sparse_decode::halves {

template <class Format, class Shared>
FLASHMLA_DEVICE void initialise_barriers(const Shared& shared) {
  using pipeline::warp_arrivals;
  for (int part = 0; part < key_parts; ++part)
    shared.key_ring(part).initialise(Items<Format>::writers(part, key_parts) * warp_arrivals,
                                     warpgroup_warps * warp_arrivals);
  shared.slot_ring().initialise(warp_arrivals, Items<Format>::count * warp_arrivals);
  shared.weight_ring().initialise(warpgroup_threads, warpgroup_threads);
  shared.totals_ring().initialise(warpgroup_threads, warpgroup_threads);
  shared.segment_ring().initialise(warp_arrivals, 2 * warpgroup_warps * warp_arrivals);
  ptx::fence_mbarrier_init();
  ptx::fence_async_proxy();
}

template <class Format>
__global__ void __launch_bounds__(threads, 1) decode(const __grid_constant__ Params p) {
  using R = Room<Format>;
  extern __shared__ __align__(1024) std::uint8_t bytes[];
  auto& storage = *reinterpret_cast<typename R::Storage*>(bytes);
  if (static_cast<std::uint32_t>(__cvta_generic_to_shared(bytes)) != tile::shared_start)
    __trap();
  const typename R::Shared shared{tile::shared_start};
  const auto warp = static_cast<int>(ptx::uniform(threadIdx.x / 32));
  const int role = warp / warpgroup_warps;
  if (threadIdx.x == 0)
    initialise_barriers<Format>(shared);
  __syncthreads();
  if (role == 0) {
    ptx::raise_registers<leader_registers>();
    Leader<Format>(p, shared, storage).lead_all();
  } else if (role == 1) {
    ptx::raise_registers<follower_registers>();
    Follower<Format>(p, shared, storage).follow_all();
  } else {
    ptx::lower_registers<gather_registers>();
    constexpr int reader = 2 * warpgroup_warps;
    if (warp == reader) {
      SlotReader<R, tile_rows>(p, shared, storage).read_all();
      ptx::launch_dependents();
    } else {
      gather<R>(p, shared, storage, warp - reader - 1);
    }
  }
}

}  // namespace flashmla::sm90::sparse_decode::halves
