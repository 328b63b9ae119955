// What a Plan holds.
#pragma once

#include <atomic>
#include <cstdint>

#include "backends/backend.h"
#include "flashmla/plan.h"

namespace flashmla {

// The first of the longest requests of a schedule, where the host knows its lengths; otherwise it
// has no tokens.
struct LongestRequest {
  std::int64_t request = 0;
  std::int64_t tokens = 0;
};

class Plan::State {
 public:
  Problem problem;  // as the caller described it
  const backends::Backend* backend;
  backends::PlannedProblem planned;  // plan_workspace is null before the first schedule()
  LongestRequest longest;
  mutable std::atomic<std::uint32_t> told = 0;  // number of the log callback that knows the kernel
};

}  // namespace flashmla
