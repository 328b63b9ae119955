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
// one plan are safe when their run workspaces are distinct.
class FLASHMLA_API Plan {
 public:
  class State;
  explicit Plan(std::unique_ptr<State> state);
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;
  ~Plan();

  const Problem& problem() const;
  std::string_view backend() const;  // name of the backend that serves the problem

  // Sizes in bytes. They are upper bounds that follow from the problem alone. The plan workspace
  // holds the schedule and the plan's copy of the lengths; it has to live as long as the plan is
  // run. The run workspace holds partial results; each stream that runs concurrently needs one.
  std::size_t plan_workspace_bytes() const;
  std::size_t run_workspace_bytes() const;

  // Divides the work among the workers, and writes the schedule and the lengths into
  // `plan_workspace`. The caller keeps that memory alive until the last run. `lengths` is int32
  // [b]: the number of tokens in each request's cache, the query's own tokens included. Sparse
  // problems take a view that is not given. Lengths on the host that are negative or beyond
  // max_pages · page_size throw Error. Lengths on a device are clamped to that range.
  void schedule(const TensorView& lengths, Workspace plan_workspace, void* stream = nullptr);

  // Takes a schedule that a plan of an equal problem wrote into this memory, instead of making one.
  // It is for callers who hand a schedule on as a tensor and not as an object. Throws Error where
  // memory on the host holds no such schedule. Memory on a device is not checked, nor is memory on
  // the host that is overwritten later. Results are undefined then, but nothing outside of the
  // tensors and workspaces of a call is read or written.
  void attach(Workspace plan_workspace);

  bool scheduled() const;
  ScheduleView view() const;  // throws Error before the first schedule()

  // 0, or 1 + the number of the first request with a bad value. A bad value is a page number
  // outside the cache that the last run met. On a device it is also a length outside its range that
  // schedule() met, or a length beyond the block table that run() met. The result of that request
  // is unspecified. The function reads the plan workspace. On a device it waits for the stream, so
  // it is for debugging.
  std::int32_t status(void* stream = nullptr) const;

  // Text with the problem, the backend, the workspaces and the kernel with its tiles. Once the plan
  // is scheduled on the host, the text also has the division of the work.
  std::string describe() const;

  State& state();  // throws Error where the plan was moved from
  const State& state() const;

 private:
  std::unique_ptr<State> state_;
};

// Validates the problem and asks the backends in order. Throws Error. An invalid_argument names the
// field that is wrong. An unsupported has the reason of every backend.
FLASHMLA_API Plan make_plan(const Problem& problem);

}  // namespace flashmla
