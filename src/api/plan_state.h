// What a Plan holds.
#pragma once

#include "backends/backend.h"
#include "flashmla/plan.h"

namespace flashmla {

class Plan::State {
 public:
  Problem problem;  // as the caller described it
  const backends::Backend* backend;
  backends::PlannedProblem planned;  // plan_workspace is null before the first schedule()
};

}  // namespace flashmla
