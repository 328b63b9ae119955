// How the roles of a CTA learn what comes next: the warp that loads the queries walks over the
// CTA's share of the schedule and publishes a record of each segment, ahead of the queries. The
// walk is code that runs once a segment: with one copy of it fewer instructions come from a cold
// cache.
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/place.h"
#include "sm90/ptx/mbarrier.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::dense_decode {

using SegmentRecord = TileSegment;  // request −1: there is nothing more to do

inline constexpr std::int32_t no_more_segments = -1;

// In shared memory. Segment n is in slot n % 2: its record is overwritten by segment n + 2, before
// which the consumers have given back the queries of segment n.
struct RecordQueue {
  SegmentRecord record[2];
  std::uint64_t ready[2];
  std::uint64_t copied[2];  // by the key loaders

  // One thread, before the other roles begin.
  FLASHMLA_DEVICE void initialise(int key_loader_threads) {
    for (int slot = 0; slot < 2; ++slot) {
      ptx::mbarrier_init(address(ready[slot]), 1);
      ptx::mbarrier_init(address(copied[slot]), key_loader_threads);
    }
  }

  // The whole warp.
  FLASHMLA_DEVICE void publish(std::uint32_t n, const SegmentRecord& segment) {
    ptx::mbarrier_wait(address(copied[n % 2]), n / 2 % 2 ^ 1);
    if (ptx::elected()) {
      record[n % 2] = segment;
      ptx::mbarrier_arrive(address(ready[n % 2]));
    }
  }

  // For the consumers: valid until they give the queries of the segment back.
  FLASHMLA_DEVICE const SegmentRecord& wait(std::uint32_t n) {
    ptx::mbarrier_wait(address(ready[n % 2]), n / 2 % 2);
    return record[n % 2];
  }

  // For the key loaders. Calls body(segment) for each segment.
  template <class Body>
  FLASHMLA_DEVICE void for_each(Body body) {
    for (std::uint32_t n = 0;; ++n) {
      const SegmentRecord segment = wait(n);
      ptx::mbarrier_arrive(address(copied[n % 2]));
      if (segment.request == no_more_segments)
        return;
      body(segment);
    }
  }

 private:
  static FLASHMLA_DEVICE std::uint32_t address(const std::uint64_t& barrier) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(&barrier));
  }
};

}  // namespace flashmla::sm90::dense_decode
