// The status word of a schedule, which threads of all thread blocks may write.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ops {

// Reports a bad request. `status` holds 0, or 1 + the first request that was reported. `seen` is
// the value that the caller expects in `status`; another value costs one more round of the loop.
FLASHMLA_DEVICE void report_first(std::int32_t* status, std::int32_t request,
                                  std::int32_t seen = 0) {
  while (seen == 0 || request + 1 < seen) {
    const std::int32_t before = atomicCAS(status, seen, request + 1);
    if (before == seen)
      return;
    seen = before;
  }
}

}  // namespace flashmla::sm90::ops
