#include "flashmla/decode.h"

#include <cmath>

#include "api/first_calls.h"
#include "api/plan_state.h"
#include "api/validate.h"
#include "core/check.h"
#include "core/log.h"

namespace flashmla {

void run(const Plan& plan, const Inputs& inputs, const Outputs& outputs, Workspace run_workspace,
         void* stream) {
  if (!plan.scheduled())
    reject("plan", "a plan without a schedule", "a call of schedule() first");
  const Problem& problem = plan.problem();
  api::validate_run(problem, inputs, outputs);
  api::validate_table_width(inputs.block_table, problem.page_size, plan.state().longest_request);
  api::validate_workspace("run_workspace", run_workspace, plan.run_workspace_bytes());
  if (outputs.out.element_count() == 0)
    return;
  if (const std::uint32_t callback = log_callback_number(); callback != 0)
    api::tell_first_call(plan.state(), callback);
  const float scale =
      inputs.softmax_scale.value_or(1.0f / std::sqrt(static_cast<float>(problem.qk_dim)));
  const backends::PlannedProblem& planned = plan.state().planned;
  planned.computation->run(planned, inputs, outputs, scale, run_workspace.data, stream);
}

}  // namespace flashmla
