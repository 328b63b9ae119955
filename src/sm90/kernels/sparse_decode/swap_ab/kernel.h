// The sparse kernel for tiles of 16 or 32 rows: it sets barriers and starts the roles. There are
// two consumer warpgroups (consume.h). Of the other warps one reads the index lists, one copies
// rotary parts, and the rest gather cached rows.
#pragma once

#include "sm90/kernels/sparse_decode/gather.h"
#include "sm90/kernels/sparse_decode/slot_reader.h"
#include "sm90/kernels/sparse_decode/swap_ab/consume.h"
#include "sm90/ptx/grid_dependency.h"
#include "sm90/tile/limits.h"

namespace flashmla::sm90::sparse_decode::swap_ab {

template <class Format, class Shared>
FLASHMLA_DEVICE void initialise_barriers(const Shared& shared) {
  using pipeline::warp_arrivals;
  constexpr int slot_readers = Items<Format>::count + (Format::quantised ? 1 : 0);
  shared.key_ring().initialise(Items<Format>::writers(0, 1) * warp_arrivals,
                               2 * consumer_warps * warp_arrivals);
  shared.weight_ring().initialise(consumer_threads, consumer_threads);
  shared.slot_ring().initialise(warp_arrivals, slot_readers * warp_arrivals);
  shared.totals_ring().initialise(consumer_threads, consumer_threads);
  shared.segment_ring().initialise(warp_arrivals, 2 * consumer_warps * warp_arrivals);
  ptx::fence_mbarrier_init();
  ptx::fence_async_proxy();
}

template <class Format, int Rows>
__global__ void __launch_bounds__(Roles<Rows>::threads, 1)
    decode(const __grid_constant__ Params p) {
  using R = Room<Format, Rows>;
  extern __shared__ __align__(1024) std::uint8_t bytes[];
  auto& storage = *reinterpret_cast<typename R::Storage*>(bytes);
  if (static_cast<std::uint32_t>(__cvta_generic_to_shared(bytes)) != tile::shared_start)
    __trap();
  const typename R::Shared shared{tile::shared_start};
  const auto warp = static_cast<int>(ptx::uniform(threadIdx.x / 32));
  if (threadIdx.x == 0)
    initialise_barriers<Format>(shared);
  __syncthreads();
  using Role = Roles<Rows>;
  if (warp < consumer_warps) {
    ptx::set_registers<Role::launch_registers, Role::scorer_registers>();
    PlainScorers<R>(p, shared, storage).score_all();
  } else if (warp < Role::reader) {
    ptx::set_registers<Role::launch_registers, Role::valuer_registers>();
    PlainValuers<R>(p, shared, storage).value_all();
  } else {
    ptx::set_registers<Role::launch_registers, Role::gather_registers>();
    if (warp == Role::reader) {
      SlotReader<R, Rows>(p, shared, storage).read_all();
      ptx::launch_dependents();
    } else if (warp == Role::rotary) {
      if constexpr (R::has_rotary_warp)
        copy_all_rotary<R>(shared, storage);
    } else {
      gather<R>(p, shared, storage, warp - Role::rotary - 1);
    }
  }
}

}  // namespace flashmla::sm90::sparse_decode::swap_ab
