// How one warp tells the other threads of its CTA what to do next: it publishes a record of each
// piece of work in a ring of two slots. The code that finds the next piece of work then exists once
// in the kernel. It runs rarely, so that its instructions come from a cold cache, and one copy of
// it is faster than one for each role.
//
// There are two kinds of readers:
// - *Copiers* call for_each(). Each of their threads copies a record and releases its slot at once,
//   so that they may run ahead.
// - *Holders* call wait(n) for record n = 0, 1, 2 … and read it in its place. They do not release
//   it. Instead, the publisher has to know in another way that they are done with record n before
//   it publishes record n + 2 in the same slot.
//
// A record has is_end(), which is true of the last one alone.
#pragma once

#include <cstdint>

#include "sm90/pipeline/ring.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::pipeline {

// Lies in shared memory.
template <class Record>
struct RecordQueue {
  static constexpr int slots = 2;

  Record record[slots];
  std::uint64_t ready_of[slots];
  std::uint64_t copied_of[slots];  // by the copiers, the slot's `free`

  // One thread, before the others begin; ptx::fence_mbarrier_init() follows. `copiers`: threads.
  FLASHMLA_DEVICE void initialise(int copiers) { ring().initialise(1, copiers); }

  // What Ring asks for.
  FLASHMLA_DEVICE std::uint32_t ready(int slot) const { return shared_address(ready_of[slot]); }
  FLASHMLA_DEVICE std::uint32_t free(int slot) const { return shared_address(copied_of[slot]); }

  // The whole warp. Record n.
  FLASHMLA_DEVICE void publish(UseCount n, const Record& next) {
    ring().acquire(n);
    if (ptx::elected()) {
      record[n.slot_in<slots>()] = next;
      ring().commit(n);
    }
  }

  // For holders.
  FLASHMLA_DEVICE const Record& wait(UseCount n) {
    ring().wait(n);
    return record[n.slot_in<slots>()];
  }

  // For copiers. Calls body(record) for each record but the last.
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
