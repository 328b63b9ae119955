// A plan together with the memory it lives in, on the host.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "flashmla/error.h"
#include "flashmla/plan.h"
#include "support/memory.h"

namespace flashmla::tools {

class ScheduledPlan {
 public:
  // Throws Error as make_plan() and schedule() do. Sparse problems have no lengths.
  ScheduledPlan(const Problem& problem, std::vector<std::int32_t> lengths)
      : plan_(make_plan(on_the_host(problem))),
        plan_memory_(support::HostMemory().allocate(plan_.plan_workspace_bytes())),
        run_memory_(support::HostMemory().allocate(plan_.run_workspace_bytes())) {
    const bool dense = problem.kind == AttentionKind::dense_decode;
    plan_.schedule(
        dense ? TensorView(lengths.data(), DType::i32, {static_cast<std::int64_t>(lengths.size())})
              : TensorView(),
        {plan_memory_.get(), plan_.plan_workspace_bytes()});
  }

  const Plan& plan() const { return plan_; }
  Workspace run_workspace() const { return {run_memory_.get(), plan_.run_workspace_bytes()}; }

 private:
  static Problem on_the_host(const Problem& problem) {
    if (problem.device.type != DeviceType::cpu)
      throw Error(ErrorCode::unsupported, "--backend", "cuda",
                  "cpu: of the subcommands, only check and info know GPUs so far");
    return problem;
  }

  Plan plan_;
  std::shared_ptr<std::byte> plan_memory_;
  std::shared_ptr<std::byte> run_memory_;
};

}  // namespace flashmla::tools
