// With a record queue one warp tells the other threads of its CTA what to do next. It publishes a
// record of each piece of work in a ring of two slots. So the code that finds the next piece of
// work exists once in the kernel. This code runs rarely and comes from a cold instruction cache, so
// that one copy of it is faster than a copy in each role.
//
// There are two kinds of readers:
// - *Copiers* call for_each(). Each of their threads copies a record and releases its slot at once,
//   so that they may run ahead.
// - *Holders* call wait(n) for record n = 0, 1, 2 … and read it in its place. They do not release
//   it. Instead, the publisher has to know in another way that they are done with record n before
//   it publishes record n + 2 in the same slot.
//
// A record has is_end(), which is true only for the last one.
#pragma once

#include <cstdint>

#include "sm90/pipeline/ring.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::pipeline {

// The part of the queue that lies in shared memory.
template <class Record>
struct RecordQueue {
  static constexpr int slots = 2;

  Record record[slots];
  std::uint64_t ready_of[slots];
  std::uint64_t copied_of[slots];  // the `free` barriers of the slots, at which copiers arrive

  // One thread calls this before the others begin; ptx::fence_mbarrier_init() follows. `copiers` is
  // the number of copying threads.
  FLASHMLA_DEVICE void initialise(int copiers) { ring().initialise(1, copiers); }

  // The addresses that Ring needs.
  FLASHMLA_DEVICE std::uint32_t ready(int slot) const { return shared_address(ready_of[slot]); }
  FLASHMLA_DEVICE std::uint32_t free(int slot) const { return shared_address(copied_of[slot]); }

  // The whole warp calls this. Publishes record n.
  FLASHMLA_DEVICE void publish(UseCount n, const Record& next) {
    ring().acquire(n);
    if (ptx::elected()) {
      record[n.slot_in<slots>()] = next;
      ring().commit(n);
    }
  }

  // Holders call this.
  FLASHMLA_DEVICE const Record& wait(UseCount n) {
    ring().wait(n);
    return record[n.slot_in<slots>()];
  }

  // Copiers call this. It calls body(record) for each record but the last.
  template <class Body>
  FLASHMLA_DEVICE void for_each(Body body) {
    for (UseCount n;; n.advance()) {
      const Record copy = wait(n);
      ring().release(n);
      if (copy.is_end())
        return;
      body(copy);
    }
  }

 private:
  FLASHMLA_DEVICE Ring<slots, const RecordQueue&> ring() const { return {*this}; }
};

}  // namespace flashmla::sm90::pipeline
