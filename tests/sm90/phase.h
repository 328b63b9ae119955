// Looks at mbarriers without waiting, and does what the copy engine does to them. For tests: what
// the library's own functions must have done.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::test {

// Whether the phase of this parity is over. A fresh barrier is in a phase of parity 0; the one in
// front of it, of parity 1, counts as over.
FLASHMLA_DEVICE bool phase_is_over(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t over;
  asm volatile(
      "{\n"
      ".reg .pred over;\n"
      "mbarrier.test_wait.parity.shared::cta.b64 over, [%1], %2;\n"
      "selp.u32 %0, 1, 0, over;\n"
      "}"
      : "=r"(over)
      : "r"(barrier), "r"(parity)
      : "memory");
  return over != 0;
}

// What the copy engine does when it has written bytes that a barrier expects.
FLASHMLA_DEVICE void complete_bytes(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(barrier),
               "r"(bytes)
               : "memory");
}

// Lets other warps go ahead.
FLASHMLA_DEVICE void idle(int clocks) {
  const std::int64_t begin = clock64();
  while (clock64() - begin < clocks) {
  }
}

}  // namespace flashmla::sm90::test
