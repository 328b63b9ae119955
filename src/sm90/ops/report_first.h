// The status word of a schedule, which threads of any block may write.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ops {

// `status` is 0, or 1 + the first request that somebody reported. `seen`: what the caller takes it
// for; a wrong one costs a turn.
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
