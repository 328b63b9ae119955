// A ring of slots in shared memory, by which writers give data to readers. Each slot has two
// barriers: `ready` says that it is filled, `free` that it has been read.
//
//   writer                                    reader
//   acquire(at)  wait until the slot is free
//   … write the slot …
//   commit(at)   the slot is filled     ───►  wait(at)     wait until the slot is filled
//   at.advance()                              … read the slot …
//                                       ◄───  release(at)  the slot is free
//                                             at.advance()
//
// A writer that lets the copy engine write calls expect(bytes, at) instead of commit(at). Then it
// starts copies of this many bytes, which complete at the barrier that expect() returns. The slot
// is filled when the bytes are there.
//
// initialise() takes the number of threads that commit a slot and the number of those that release
// it, at each use. All slots are free at first: acquire() does not wait before the ring is full for
// the first time.
//
// `at` is a position of position.h. Each thread has its own. commit, expect and release need no
// phase; in a ring of one slot they need no position.
//
// A Ring object holds only the address of the barriers and is made where it is used. The kernel
// knows what a slot holds and where the slot lies.
#pragma once

#include <cstdint>

#include "sm90/pipeline/cluster.h"
#include "sm90/pipeline/landing.h"
#include "sm90/pipeline/position.h"
#include "sm90/ptx/mbarrier.h"

namespace flashmla::sm90::pipeline {

FLASHMLA_DEVICE std::uint32_t shared_address(const std::uint64_t& barrier) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(&barrier));
}

// The barriers of a ring, in shared memory.
template <int Slots>
struct RingBarriers {
  std::uint64_t ready[Slots];
  std::uint64_t free[Slots];
};

// The shared addresses of the barriers. `FreeOffset` is the number of bytes from the `ready`
// barrier of a slot to its `free` barrier.
template <std::uint32_t FreeOffset>
struct BarrierAddress {
  std::uint32_t first;  // `ready` barrier of the first slot

  FLASHMLA_DEVICE std::uint32_t ready(int slot) const { return first + slot * barrier_bytes; }
  FLASHMLA_DEVICE std::uint32_t free(int slot) const {
    return first + FreeOffset + slot * barrier_bytes;
  }
};

// `Barriers` has ready(slot) and free(slot), the shared addresses of a slot's barriers.
template <int Slots, class Barriers = BarrierAddress<Slots * barrier_bytes>>
struct Ring {
  Barriers barriers;

  // One thread calls this before any other thread uses the ring; ptx::fence_mbarrier_init()
  // follows.
  FLASHMLA_DEVICE void initialise(int writers, int readers) const {
    for (int slot = 0; slot < Slots; ++slot) {
      ptx::mbarrier_init(barriers.ready(slot), writers);
      ptx::mbarrier_init(barriers.free(slot), readers);
    }
  }

  // NOTE: a slot that is filled for the n-th time has been released n − 1 times, so this is the
  // phase in front of that of wait(). On a new barrier a wait for the phase in front of the first
  // one returns at once.
  template <class Position>
  FLASHMLA_DEVICE void acquire(const Position& at) const {
    ptx::mbarrier_wait(barriers.free(at.template slot_in<Slots>()), phase_before<Slots>(at));
  }
  template <class Position = OnlySlot>
  FLASHMLA_DEVICE void commit(const Position& at = {}) const {
    ptx::mbarrier_arrive(barriers.ready(at.template slot_in<Slots>()));
  }
  // The same, when all asynchronous copies of the thread have arrived.
  template <class Position = OnlySlot>
  FLASHMLA_DEVICE void commit_after_copies(const Position& at = {}) const {
    ptx::mbarrier_arrive_after_copies(barriers.ready(at.template slot_in<Slots>()));
  }
  template <class Position = OnlySlot>
  FLASHMLA_DEVICE std::uint32_t expect(std::uint32_t bytes, const Position& at = {}) const {
    return landing(at).expect(bytes);
  }
  // The barrier at which the copies of a slot complete.
  template <class Position = OnlySlot>
  FLASHMLA_DEVICE Landing landing(const Position& at = {}) const {
    return {barriers.ready(at.template slot_in<Slots>())};
  }

  template <class Position>
  FLASHMLA_DEVICE void wait(const Position& at) const {
    ptx::mbarrier_wait(barriers.ready(at.template slot_in<Slots>()), at.template phase_in<Slots>());
  }
  template <class Position = OnlySlot>
  FLASHMLA_DEVICE void release(const Position& at = {}) const {
    ptx::mbarrier_arrive(barriers.free(at.template slot_in<Slots>()));
  }

  // In a cluster whose CTAs fill each other's slots: one release for the ring of every CTA.
  // `thread` is the number of the caller among the threads that call this together.
  template <int ClusterSize, class Position = OnlySlot>
  FLASHMLA_DEVICE void release_to_cluster(int thread, const Position& at = {}) const {
    arrive_at_cluster<ClusterSize>(barriers.free(at.template slot_in<Slots>()), thread);
  }
};

}  // namespace flashmla::sm90::pipeline
