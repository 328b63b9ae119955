// The sparse kernel for FP8 caches and tiles of 16 rows: it sets barriers and starts the roles. The
// codes stay as they are in shared memory, and the consumers turn them into operands in registers:
// two warpgroups of scorers as keys, and two of valuers as values. Of the other four warps one
// reads the index lists and three copy rows.
#pragma once

#include "sm90/kernels/sparse_decode/codes/code_scorers.h"
#include "sm90/kernels/sparse_decode/codes/code_valuers.h"
#include "sm90/kernels/sparse_decode/codes/copy_rows.h"
#include "sm90/kernels/sparse_decode/slot_reader.h"
#include "sm90/ptx/grid_dependency.h"
#include "sm90/tile/limits.h"

namespace flashmla::sm90::sparse_decode::codes {

template <class R>
FLASHMLA_DEVICE void initialise_barriers(const typename R::Shared& shared) {
  using pipeline::warp_arrivals;
  constexpr int scorers = score_groups * consumer_threads;
  constexpr int valuers = value_groups * consumer_threads;
  constexpr int consumer_arrivals = (scorers + valuers) / 32 * warp_arrivals;
  shared.key_ring().initialise(RowCopier<R>::arrivals, consumer_arrivals);
  shared.weight_ring().initialise(consumer_threads, valuers);
  shared.slot_ring().initialise(warp_arrivals, copy_warps * warp_arrivals);
  shared.totals_ring().initialise(scorers, valuers);
  shared.segment_ring().initialise(warp_arrivals, consumer_arrivals);
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
  if (threadIdx.x == 0)
    initialise_barriers<R>(shared);
  __syncthreads();
  if (warp < score_groups * consumer_warps) {
    ptx::set_registers<launch_registers, scorer_registers>();
    CodeScorers<R>(p, shared, storage).score_all();
  } else if (warp < reader) {
    ptx::set_registers<launch_registers, valuer_registers>();
    CodeValuers<R>(p, shared, storage).value_all();
  } else {
    ptx::set_registers<launch_registers, copier_registers>();
    if (warp == reader) {
      SlotReader<R, tile_rows>(p, shared, storage).read_all();
      ptx::launch_dependents();
    } else {
      RowCopier<R>(shared, storage, warp - reader - 1).copy_all();
    }
  }
}

}  // namespace flashmla::sm90::sparse_decode::codes
