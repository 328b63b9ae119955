// A plan divides the work of a problem among workers. A caller describes a problem, plans it,
// schedules it and runs it:
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
#include "flashmla/schedule_view.h"
#include "flashmla/tensor_view.h"

namespace flashmla {

// A plan is opaque and movable. Only schedule() and attach() change it. Concurrent run() calls on
// one plan are safe where their run workspaces are distinct.
class FLASHMLA_API Plan {
 public:
  class State;
  explicit Plan(std::unique_ptr<State> state);
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;
  ~Plan();

  const Problem& problem() const;
  std::string_view backend() const;  // name of the backend that serves the problem

  // Sizes of the workspaces in bytes. They are upper bounds that follow from the problem alone. The
  // plan workspace holds the schedule and a copy of the lengths. It has to live until the last run
  // of the plan ends. The run workspace holds partial results. Each stream that runs at the same
  // time needs its own.
  std::size_t plan_workspace_bytes() const;
  std::size_t run_workspace_bytes() const;

  // Divides the work among the workers, and writes the schedule and a copy of the lengths into
  // `plan_workspace`. `lengths` is int32 [b]: the number of cached tokens of each request, which
  // includes the query tokens. Sparse problems pass a view that is not given. Lengths on the host
  // that are negative or above max_pages · page_size throw Error. Lengths on a device are clamped
  // to this range.
  void schedule(const TensorView& lengths, Workspace plan_workspace, void* stream = nullptr);

  // Takes the schedule that a plan of an equal problem wrote into this memory, instead of making
  // one. It is for callers who pass a schedule on as a tensor and not as an object. Throws Error
  // where host memory holds no such schedule. Device memory is not checked, and neither is host
  // memory that is overwritten later. Results are undefined then, but nothing outside the tensors
  // and workspaces of a call is read or written.
  void attach(Workspace plan_workspace);

  bool scheduled() const;
  ScheduleView view() const;  // throws Error before the first schedule()

  // 0, or 1 + the number of the first request with a bad value, whose result is unspecified. Bad
  // values are page numbers outside the cache that the last run read. On a device they are also
  // lengths outside their range that schedule() read, and lengths beyond the block table that run()
  // read. On a device the function waits for the stream, so it is for debugging.
  std::int32_t status(void* stream = nullptr) const;

  // A text with the problem, the backend, the workspaces and the kernel with its tiles. Once the
  // plan is scheduled on the host, the text also has the division of the work.
  std::string describe() const;

  State& state();  // for the library; throws Error where the plan was moved from
  const State& state() const;

 private:
  std::unique_ptr<State> state_;
};

// Checks the problem and takes the first backend that serves it, in the order of list_backends().
// Throws Error: an invalid_argument names the field that is wrong, and an unsupported has the
// reason of every backend.
FLASHMLA_API Plan make_plan(const Problem& problem);

}  // namespace flashmla
