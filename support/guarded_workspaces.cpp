#include "support/guarded_workspaces.h"

#include <span>
#include <string>
#include <vector>

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
  std::vector<std::int32_t> offsets(static_cast<std::size_t>(requests) + 1);
  memory_.download(std::as_writable_bytes(std::span(offsets)),
                   reinterpret_cast<const std::byte*>(plan.view().split_offset));
  result.split |= offsets.back() != 0;
  result.partials.clear();
  for (std::size_t r = 0; r + 1 < offsets.size(); ++r)
    result.partials.push_back(offsets[r + 1] - offsets[r]);
}

}  // namespace flashmla::support
