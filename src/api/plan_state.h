// The state of a Plan.
#pragma once

#include <atomic>
#include <cstdint>

#include "backends/backend.h"
#include "flashmla/plan.h"

namespace flashmla {

// The first one of the longest requests of a schedule. Where the host does not know the lengths,
// `tokens` is 0.
struct LongestRequest {
  std::int64_t request = 0;
  std::int64_t tokens = 0;
};

class Plan::State {
 public:
  Problem problem;  // as the caller described it
  const backends::Backend* backend;
  backends::PlannedProblem planned;  // plan_workspace is null before the first schedule()
  LongestRequest longest_request;
  mutable std::atomic<std::uint32_t> told = 0;  // number of the log callback that knows the kernel
};

}  // namespace flashmla
