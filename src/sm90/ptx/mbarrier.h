// mbarrier: barriers in shared memory that count arrivals and bytes. Addresses are 32-bit shared
// addresses.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ptx {

FLASHMLA_DEVICE void mbarrier_init(std::uint32_t barrier, std::uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Makes initialised barriers visible to the other threads of the cluster and to the copy engine.
FLASHMLA_DEVICE void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

FLASHMLA_DEVICE void mbarrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives, and makes the phase wait for `bytes` more bytes of copies.
FLASHMLA_DEVICE void mbarrier_arrive_expect(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

// Arrives when all copies have arrived that the thread has started with copy_async().
FLASHMLA_DEVICE void mbarrier_arrive_after_copies(std::uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

// Arrives at the barrier of CTA `rank` of the cluster that has the same shared address as
// `barrier`. NOTE: there is no .release.cluster, which would compile to a fence of the whole GPU.
// Such an arrival only has to order reads of tiles that the copy engine overwrites, which it does
// without.
FLASHMLA_DEVICE void mbarrier_arrive_cluster(std::uint32_t barrier, std::uint32_t rank) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(barrier),
      "r"(rank)
      : "memory");
}

// Waits for the end of the phase of this parity. Where FLASHMLA_WAIT_LIMIT (clocks) is defined, a
// longer wait traps, so that a debugger shows its place.
FLASHMLA_DEVICE void mbarrier_wait(std::uint32_t barrier, std::uint32_t parity) {
#if defined(FLASHMLA_WAIT_LIMIT)
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      ".reg .u32 begin, now;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra end;\n"
      "mov.u32 begin, %%clock;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra end;\n"
      "mov.u32 now, %%clock;\n"
      "sub.u32 now, now, begin;\n"
      "setp.gt.u32 done, now, %2;\n"
      "@done trap;\n"
      "bra again;\n"
      "end:\n"
      "}" ::"r"(barrier),
      "r"(parity), "n"(FLASHMLA_WAIT_LIMIT)
      : "memory");
#else
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(barrier),
      "r"(parity)
      : "memory");
#endif
}

}  // namespace flashmla::sm90::ptx
