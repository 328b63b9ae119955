// Both workspaces of a plan in guarded memory, and what can be said of them after a run.
#pragma once

#include <cstdint>

#include "flashmla/plan.h"
#include "support/case_result.h"
#include "support/memory.h"

namespace flashmla::support {

class GuardedWorkspaces {
 public:
  GuardedWorkspaces(const Plan& plan, Memory& memory);

  Workspace plan() { return {plan_.data(), plan_.bytes()}; }
  Workspace run() { return {run_.data(), run_.bytes()}; }

  // Adds faults: a status other than 0, memory around a workspace that was written to. Notes how
  // many partial results the schedule has of each of its `requests`.
  void judge(const Plan& plan, std::int64_t requests, CaseResult& result) const;

 private:
  Memory& memory_;
  GuardedBuffer plan_;
  GuardedBuffer run_;
};

}  // namespace flashmla::support
