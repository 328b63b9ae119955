// The copy engine (TMA), which copies boxes of a tensor map from global to shared memory. It writes
// zeros for coordinates outside the tensor.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "sm90/ptx/device.h"
#include "sm90/ptx/l2_policy.h"

namespace flashmla::sm90::ptx {

FLASHMLA_DEVICE void prefetch_tensor_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// Coordinates of a box in a tensor of rank 5, fastest first.
struct BoxPlace {
  std::int32_t column;
  std::int32_t token;
  std::int32_t chunk;
  std::int32_t head;
  std::int32_t page;
};

FLASHMLA_DEVICE void tma_load(std::uint32_t target, const CUtensorMap* map, std::uint32_t barrier,
                              const BoxPlace& place, std::uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1, {%3, %4, %5, %6, %7}], [%2], %8;" ::"r"(target),
      "l"(map), "r"(barrier), "r"(place.column), "r"(place.token), "r"(place.chunk),
      "r"(place.head), "r"(place.page), "l"(policy)
      : "memory");
}

// Copies the box to the same shared address in each CTA of the cluster whose bit is set in `ranks`.
FLASHMLA_DEVICE void tma_load_multicast(std::uint32_t target, const CUtensorMap* map,
                                        std::uint32_t barrier, const BoxPlace& place,
                                        std::uint16_t ranks, std::uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster.L2::cache_hint [%0], [%1, {%3, %4, %5, %6, %7}], [%2], %8, %9;" ::"r"(
          target),
      "l"(map), "r"(barrier), "r"(place.column), "r"(place.token), "r"(place.chunk),
      "r"(place.head), "r"(place.page), "h"(ranks), "l"(policy)
      : "memory");
}

// Brings `bytes` bytes of global memory into the L2 cache. `bytes` and the address are multiples of
// 16.
FLASHMLA_DEVICE void prefetch_to_l2(const void* from, std::uint32_t bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
}

}  // namespace flashmla::sm90::ptx
