// A barrier at which copies of the copy engine complete. Each slot of a ring has one. A thread that
// changes the data before readers may see them uses a barrier of its own:
//
//   expect(bytes)
//   … start copies of so many bytes that complete at the barrier …
//   wait(at)
//   at.advance()
//   … the bytes are there …
#pragma once

#include <cstdint>

#include "sm90/pipeline/position.h"
#include "sm90/ptx/mbarrier.h"

namespace flashmla::sm90::pipeline {

inline constexpr std::uint32_t barrier_bytes = 8;

struct Landing {
  std::uint32_t barrier;  // shared address

  // One thread calls this before any other thread uses the barrier; ptx::fence_mbarrier_init()
  // follows. `arrivals` is the number of calls of expect() before the bytes are there.
  FLASHMLA_DEVICE void initialise(int arrivals) const { ptx::mbarrier_init(barrier, arrivals); }

  FLASHMLA_DEVICE std::uint32_t expect(std::uint32_t bytes) const {
    ptx::mbarrier_arrive_expect(barrier, bytes);
    return barrier;
  }

  // `at` is the number of earlier waits of the caller, or a position in a ring of one slot.
  template <class Position>
  FLASHMLA_DEVICE void wait(const Position& at) const {
    ptx::mbarrier_wait(barrier, at.template phase_in<1>());
  }
};

}  // namespace flashmla::sm90::pipeline
