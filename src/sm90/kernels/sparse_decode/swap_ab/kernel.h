// The sparse kernel for tiles of 16 or 32 rows: it sets barriers and starts the roles. There are one
// consumer warpgroup, one warp that reads the index lists, and warps that gather cached rows.
#pragma once

#include "sm90/kernels/sparse_decode/gather.h"
#include "sm90/kernels/sparse_decode/slot_reader.h"
#include "sm90/kernels/sparse_decode/swap_ab/consume.h"
#include "sm90/ptx/grid_dependency.h"
#include "sm90/tile/limits.h"

namespace flashmla::sm90::sparse_decode::swap_ab {

template <class Shared>
FLASHMLA_DEVICE void initialise_barriers(const Shared& shared) {
  shared.key_ring().initialise(groups_of_block, consumer_warps);
  shared.slot_ring().initialise(1, groups_of_block);
  shared.segment_ring().initialise(1, 1);
  ptx::fence_mbarrier_init();
  ptx::fence_async_proxy();
}

template <class Room>
FLASHMLA_DEVICE void gather(const Params& p, const typename Room::Shared& shared,
                            typename Room::Storage& storage, int warp) {
  if constexpr (Room::Format::quantised)
    QuantisedGatherer<Room>(p, shared, storage, warp).gather_all();
  else
    PlainGatherer<Room>(p, shared, storage, warp).gather_all();
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
  if (warp < consumer_warps) {
    if constexpr (Rows == 32)
      ptx::raise_registers<consumer_registers>();
    consume<R>(p, shared, storage);
    return;
  }
  if constexpr (Rows == 32)
    ptx::lower_registers<other_registers>();
  if (warp == consumer_warps) {
    SlotReader<typename R::Shared, typename R::Storage, Rows>(p, shared, storage).read_all();
    ptx::launch_dependents();
  } else {
    gather<R>(p, shared, storage, warp - consumer_warps - 1);
  }
}

}  // namespace flashmla::sm90::sparse_decode::swap_ab
