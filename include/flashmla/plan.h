// How a problem is divided among workers. describe → plan → schedule → run:
//
//   Plan plan = make_plan(problem);                   // host only; refuses what cannot be served
//   plan.schedule(lengths, plan_workspace, stream);   // once a decoding step
//   run(plan, inputs, outputs, run_workspace, stream);  // once a layer
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "flashmla/export.h"
#include "flashmla/problem.h"
#include "flashmla/tensor_view.h"

namespace flashmla {

// Where the parts of a schedule lie inside the plan workspace (on the plan's device).
// docs/architecture.md gives the meaning of a row of `work`. In sparse problems b stands for the
// b · s_q query tokens, and their lengths are topk + extra_topk.
struct ScheduleView {
  std::int32_t workers = 0;            // rows of `work`
  std::int32_t block_tokens = 0;       // tokens in a block, the unit in which work is divided
  const std::int32_t* work = nullptr;  // [workers][8]
  const std::int32_t* split_offset = nullptr;  // [b + 1], first partial result of each request
  const std::int32_t* lengths = nullptr;       // [b], the plan's own copy, tokens
  std::int32_t* status = nullptr;              // [1], see Plan::status
};

// Opaque and movable. Only schedule() changes it. Concurrent run() calls on one plan are safe when
// their run workspaces are distinct.
class FLASHMLA_API Plan {
 public:
  class State;
  explicit Plan(std::unique_ptr<State> state);
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;
  ~Plan();

  const Problem& problem() const;
  std::string_view backend() const;  // name of the backend that serves the problem

  // Upper bounds, known from the problem alone; in bytes. The plan workspace holds the schedule and
  // the plan's copy of the lengths, and lives as long as the plan is run. The run workspace holds
  // partial results: one for each stream that runs concurrently.
  std::size_t plan_workspace_bytes() const;
  std::size_t run_workspace_bytes() const;

  // Divides the work of `lengths` (int32 [b], tokens in each request's cache, the query's own
  // included; dense decoding; sparse problems take a view that is not given) and writes schedule
  // and lengths into `plan_workspace`. The caller keeps that memory alive until the last run.
  // Lengths on the host that are negative or beyond max_blocks · page_size throw Error; lengths on
  // a device are clamped to that range.
  void schedule(const TensorView& lengths, Workspace plan_workspace, void* stream = nullptr);

  // Takes a schedule that a plan of an equal problem wrote into this memory, instead of making one:
  // for callers who hand a schedule on as a tensor, and not as an object. Throws Error where memory
  // on the host holds no such schedule. On a device nobody looks; there, as on the host where it
  // is overwritten later, results are undefined, but nothing outside of the tensors and workspaces
  // of a call is read or written.
  void attach(Workspace plan_workspace);

  bool scheduled() const;
  ScheduleView view() const;  // throws Error before the first schedule()

  // 0, or 1 + the first request in which the last run met a page number outside the cache or (on a
  // device) schedule met a length outside its range or a run one beyond its block table; that
  // request's result is unspecified. Reads the plan workspace: on a device this waits for the
  // stream, so it is for debugging.
  std::int32_t status(void* stream = nullptr) const;

  // Problem, backend, workspaces, kernel with its tiles and, once scheduled on the host, the
  // division of the work, as text.
  std::string describe() const;

  State& state();  // throws Error where the plan was moved from
  const State& state() const;

 private:
  std::unique_ptr<State> state_;
};

// Validates the problem and asks the backends in order. Throws Error: invalid_argument names the
// field that is wrong; unsupported carries the reason of every backend.
FLASHMLA_API Plan make_plan(const Problem& problem);

}  // namespace flashmla
