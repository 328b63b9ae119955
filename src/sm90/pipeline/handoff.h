// With a handoff two groups of threads, sides 0 and 1, show each other that they have written data
// to shared memory. `Exchange` is an enumeration of these data; its last name is `count`.
//
//   threads of side s                         threads of the other side
//   … write …
//   show(what, s)                       ───►  await(what, s, at)
//                                             at.advance()
//                                             … read …
//
// Unlike a ring, a handoff does not say that the data have been read. A side has to know this in
// another way before it writes to the same memory again, usually because the other side has shown
// something later.
#pragma once

#include <cstdint>

#include "sm90/pipeline/position.h"
#include "sm90/pipeline/ring.h"
#include "sm90/ptx/mbarrier.h"

namespace flashmla::sm90::pipeline {

template <class Exchange>
struct Handoff {
  static constexpr int exchanges = static_cast<int>(Exchange::count);
  static constexpr int barriers = 2 * exchanges;

  std::uint32_t shown;  // shared address of the barriers [exchange][side]

  // One thread calls this before any other thread uses the handoff; ptx::fence_mbarrier_init()
  // follows. `side` has `threads` threads, all of which call show().
  FLASHMLA_DEVICE void initialise(int side, int threads) const {
    for (int what = 0; what < exchanges; ++what)
      ptx::mbarrier_init(barrier(static_cast<Exchange>(what), side), threads);
  }

  FLASHMLA_DEVICE void show(Exchange what, int side) const {
    ptx::mbarrier_arrive(barrier(what, side));
  }

  // `side` is the side that shows. `at` is the number of earlier waits of the caller for `what`, or
  // a position in a ring of one slot.
  template <class Position>
  FLASHMLA_DEVICE void await(Exchange what, int side, const Position& at) const {
    ptx::mbarrier_wait(barrier(what, side), at.template phase_in<1>());
  }

 private:
  FLASHMLA_DEVICE std::uint32_t barrier(Exchange what, int side) const {
    return shown + (2 * static_cast<int>(what) + side) * barrier_bytes;
  }
};

}  // namespace flashmla::sm90::pipeline
