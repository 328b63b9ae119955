#include "flashmla/plan.h"

#include <algorithm>
#include <utility>

#include "api/backend_list.h"
#include "api/plan_state.h"
#include "api/validate.h"
#include "core/check.h"
#include "schedule/describe.h"

namespace flashmla {

namespace {

// Backends never get a problem without query tokens. Such a problem is planned as if it had one,
// and run() returns before it calls the backend.
Problem with_a_query_token(Problem problem) {
  problem.query_tokens = std::max<std::int64_t>(problem.query_tokens, 1);
  return problem;
}

LongestRequest longest_of(const std::int32_t* lengths, std::int64_t count) {
  LongestRequest longest;
  for (std::int64_t r = 0; r < count; ++r)
    if (lengths[r] > longest.tokens)
      longest = {r, lengths[r]};
  return longest;
}

}  // namespace

Plan::Plan(std::unique_ptr<State> state) : state_(std::move(state)) {}
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;
Plan::~Plan() = default;

Plan::State& Plan::state() {
  if (state_ == nullptr)
    reject("plan", "a plan that was moved from", "a plan of make_plan()");
  return *state_;
}

const Plan::State& Plan::state() const {
  return const_cast<Plan*>(this)->state();
}

const Problem& Plan::problem() const {
  return state().problem;
}

std::string_view Plan::backend() const {
  return state().backend->name();
}

std::size_t Plan::plan_workspace_bytes() const {
  return schedule::PlanLayout(state().planned.params).bytes;
}

std::size_t Plan::run_workspace_bytes() const {
  return state().planned.computation->partials.bytes();
}

void Plan::schedule(const TensorView& lengths, Workspace plan_workspace, void* stream) {
  api::validate_lengths(problem(), lengths);
  api::validate_workspace("plan_workspace", plan_workspace, plan_workspace_bytes());
  backends::PlannedProblem planned = state_->planned;
  planned.plan_workspace = plan_workspace.data;
  state_->backend->schedule(planned, lengths, stream);
  state_->planned = planned;
  state_->longest_request = {};
  if (lengths.given() && lengths.device.type == DeviceType::cpu)
    state_->longest_request =
        longest_of(static_cast<const std::int32_t*>(lengths.data), problem().batch);
}

void Plan::attach(Workspace plan_workspace) {
  api::validate_workspace("plan_workspace", plan_workspace, plan_workspace_bytes());
  backends::PlannedProblem planned = state_->planned;
  planned.plan_workspace = plan_workspace.data;
  planned.may_split = true;
  const bool on_host = problem().device.type == DeviceType::cpu;
  if (on_host)
    api::validate_attached(planned);
  state_->planned = planned;
  state_->longest_request = {};
  if (on_host && problem().kind == AttentionKind::dense_decode)
    state_->longest_request = longest_of(planned.memory().lengths, problem().batch);
}

bool Plan::scheduled() const {
  return state().planned.plan_workspace != nullptr;
}

ScheduleView Plan::view() const {
  if (!scheduled())
    reject("plan", "a plan without a schedule", "a call of schedule() first");
  const schedule::PlanMemory memory = state_->planned.memory();
  return {.workers = state_->planned.params.workers,
          .block_tokens = state_->planned.params.block_tokens,
          .work = memory.work,
          .split_offset = memory.split_offset,
          .lengths = memory.lengths,
          .status = memory.status};
}

std::int32_t Plan::status(void* stream) const {
  if (!scheduled())
    reject("plan", "a plan without a schedule", "a call of schedule() first");
  return state_->backend->status(state_->planned, stream);
}

std::string Plan::describe() const {
  std::string lines = text(
      flashmla::describe(problem()), "\nbackend ", backend(), ", plan workspace ",
      plan_workspace_bytes(), " bytes, run workspace ", run_workspace_bytes(), " bytes\nkernel ",
      state().planned.computation->kernel(), ", ", state().planned.params.workers, " workers\n");
  if (scheduled() && problem().device.type == DeviceType::cpu)
    lines += schedule::describe(state().planned.params, state().planned.memory());
  return lines;
}

Plan make_plan(const Problem& problem) {
  api::validate_problem(problem);
  std::string reasons;
  for (const backends::Backend* backend : api::backend_list()) {
    const auto reason = api::refusal(*backend, problem);
    if (!reason) {
      auto state = std::make_unique<Plan::State>();
      state->backend = backend;
      state->problem = problem;
      state->planned.problem = with_a_query_token(problem);
      state->planned.computation = backend->decide(state->planned.problem);
      state->planned.params = state->planned.computation->params;
      state->planned.computation->prepare();
      return Plan(std::move(state));
    }
    reasons += text(reasons.empty() ? "" : "; ", backend->name(), ": ", *reason);
  }
  throw Error(ErrorCode::unsupported, "problem", describe(problem),
              text("a problem that a backend serves (", reasons, ")"));
}

}  // namespace flashmla
