// A plan together with its workspaces and lengths, in memory of the device that it computes on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "flashmla/plan.h"
#include "support/memory.h"

namespace flashmla::tools {

// A copy of a schedule on the host. The schedule itself may lie on a GPU.
struct HostSchedule {
  std::vector<WorkRow> work;
  std::vector<std::int32_t> split_offset;
  std::vector<std::int32_t> lengths;
  std::int32_t workers = 0;
  std::int32_t block_tokens = 0;

  ScheduleView view() const {
    return {.workers = workers,
            .block_tokens = block_tokens,
            .work = work.data(),
            .split_offset = split_offset.data(),
            .lengths = lengths.data(),
            .status = nullptr};
  }
};

class ScheduledPlan {
 public:
  // `memory` is of the problem's device. Throws Error as make_plan() and schedule() do. Sparse
  // problems have no lengths.
  ScheduledPlan(const Problem& problem, const std::vector<std::int32_t>& lengths,
                support::Memory& memory)
      : memory_(memory),
        plan_(make_plan(problem)),
        plan_memory_(allocate(plan_.plan_workspace_bytes())),
        run_memory_(allocate(plan_.run_workspace_bytes())),
        lengths_memory_(allocate(lengths.size() * sizeof(std::int32_t))) {
    memory.upload(lengths_memory_.get(), std::as_bytes(std::span(lengths)));
    if (problem.kind == AttentionKind::dense_decode)
      lengths_ = {lengths_memory_.get(), DType::i32, {std::ssize(lengths)}, memory.device()};
    schedule();
  }

  // Makes the schedule once more, for the same lengths.
  void schedule(void* stream = nullptr) {
    plan_.schedule(lengths_, {plan_memory_.get(), plan_.plan_workspace_bytes()}, stream);
  }

  const Plan& plan() const { return plan_; }
  Workspace run_workspace() const { return {run_memory_.get(), plan_.run_workspace_bytes()}; }

  // The schedule of a dense problem.
  HostSchedule host_schedule() const {
    const ScheduleView view = plan_.view();
    const std::int64_t requests = plan_.problem().batch;
    return {.work = download(view.work, view.workers),
            .split_offset = download(view.split_offset, requests + 1),
            .lengths = download(view.lengths, requests),
            .workers = view.workers,
            .block_tokens = view.block_tokens};
  }

 private:
  std::shared_ptr<std::byte> allocate(std::size_t bytes) const {
    return memory_.allocate(std::max<std::size_t>(1, bytes));
  }

  template <class T>
  std::vector<T> download(const T* from, std::int64_t count) const {
    std::vector<T> values(static_cast<std::size_t>(count));
    memory_.download(std::as_writable_bytes(std::span(values)),
                     reinterpret_cast<const std::byte*>(from));
    return values;
  }

  support::Memory& memory_;
  Plan plan_;
  std::shared_ptr<std::byte> plan_memory_;
  std::shared_ptr<std::byte> run_memory_;
  std::shared_ptr<std::byte> lengths_memory_;
  TensorView lengths_;
};

}  // namespace flashmla::tools
