#include "support/guarded_workspaces.h"

#include <span>
#include <string>

namespace flashmla::support {

GuardedWorkspaces::GuardedWorkspaces(const Plan& plan, Memory& memory)
    : memory_(memory),
      plan_(memory, plan.plan_workspace_bytes()),
      run_(memory, plan.run_workspace_bytes()) {
  plan_.upload();
  run_.upload();
}

void GuardedWorkspaces::judge(const Plan& plan, std::int64_t requests, CaseResult& result) const {
  if (const std::int32_t status = plan.status(); status != 0)
    result.faults.push_back("status names request " + std::to_string(status - 1));
  if (!plan_.guards_unchanged())
    result.faults.emplace_back("memory around the plan workspace was written to");
  if (!run_.guards_unchanged())
    result.faults.emplace_back("memory around the run workspace was written to");
  std::int32_t partials = 0;
  memory_.download(std::as_writable_bytes(std::span(&partials, 1)),
                   reinterpret_cast<const std::byte*>(plan.view().split_offset + requests));
  result.split |= partials != 0;
}

}  // namespace flashmla::support
