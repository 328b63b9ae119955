// Arrivals of a whole warp at a barrier of a ring.
#pragma once

#include "sm90/ptx/device.h"

namespace flashmla::sm90::pipeline {

// One lane arrives for its warp, after all lanes are done. This is sound, and the arrivals of all
// lanes would take as long as a short piece of work. racecheck of compute-sanitizer does not follow
// it, though: it knows only what the arriving lane has done. So a build with
// FLASHMLA_LANES_ARRIVE lets all lanes arrive.
#if defined(FLASHMLA_LANES_ARRIVE)
inline constexpr int warp_arrivals = 32;
#else
inline constexpr int warp_arrivals = 1;
#endif

// All lanes of the warp call this. arrive() arrives once.
template <class Arrive>
FLASHMLA_DEVICE void arrive_as_warp(Arrive arrive) {
  if constexpr (warp_arrivals == 1)
    __syncwarp();
  if (threadIdx.x % 32 < warp_arrivals)
    arrive();
}

}  // namespace flashmla::sm90::pipeline
