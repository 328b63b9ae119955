// The interface of a backend. src/api checks everything that the host can see. A backend computes,
// on memory that the caller owns.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/partial_layout.h"
#include "backends/schedule_shape.h"
#include "flashmla/decode.h"
#include "flashmla/kv_format.h"
#include "flashmla/merge.h"
#include "flashmla/problem.h"
#include "schedule/plan_layout.h"
#include "schedule/split_kv.h"
#include "schedule/walk.h"

namespace flashmla::backends {

class Computation;

// A problem, the parameters of its schedule, and the memory of the schedule.
struct PlannedProblem {
  Problem problem;
  schedule::SplitParams params;
  void* plan_workspace = nullptr;  // has the layout of schedule::PlanLayout(params)
  bool may_split = true;           // false where schedule() knows that no request is split
  std::shared_ptr<const Computation> computation;

  schedule::PlanMemory memory() const { return {schedule::PlanLayout(params), plan_workspace}; }

  // The schedule in the form in which workers read it. It may hold any numbers: a walk over it
  // stays inside the tensors and workspaces of the problem.
  schedule::Walk walk() const {
    constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    const std::int64_t tokens = ScheduleShape(problem).tokens;
    const std::int64_t partials = schedule::max_partials(params, tokens);
    return memory().walk(params, static_cast<std::int32_t>(tokens),
                         static_cast<std::int32_t>(std::min(partials, most)));
  }
};

// How a backend computes a problem. Everything that follows from the problem alone is decided when
// the plan is made, and the calls of the plan only use it.
class Computation {
 public:
  schedule::SplitParams params;  // workers, block size and costs
  PartialLayout partials;        // layout of the run workspace

  // `bytes`: the form of the backend's partial results.
  Computation(const Problem& problem, const schedule::SplitParams& split,
              const schedule::PartialBytes& bytes)
      : params(split), partials(problem, split, bytes) {}
  virtual ~Computation() = default;
  Computation(const Computation&) = delete;
  Computation& operator=(const Computation&) = delete;

  // A text for people with the kernel, the rows of its tiles and the cluster size. Where two
  // problems differ only in the batch and have the same text, a request is cut in the same way in
  // both.
  virtual std::string kernel() const = 0;

  // Loads everything that the first call would have to load otherwise.
  virtual void prepare() const {}

  // All tensors fit the problem. `softmax_scale` is the caller's, or the default where the caller
  // gives none.
  virtual void run(const PlannedProblem& planned, const Inputs& inputs, const Outputs& outputs,
                   float softmax_scale, void* run_workspace, void* stream) const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;
  virtual DeviceType device_type() const = 0;
  virtual std::int32_t device_count() const = 0;
  virtual std::vector<std::string> devices() const = 0;  // the devices, one line for each

  // Why the backend cannot be used on this machine. Empty where it can.
  virtual std::optional<std::string> unavailable() const = 0;

  // Why the backend does not serve a valid problem on its own device type. Empty where it does.
  virtual std::optional<std::string> refuses(const Problem& problem) const = 0;

  // Decides how to compute a problem that the backend does not refuse.
  virtual std::unique_ptr<const Computation> decide(const Problem& problem) const = 0;

  // Fills planned.memory() from `lengths`. Lengths on the host have been checked: they lie in 0 …
  // max_pages · page_size.
  virtual void schedule(PlannedProblem& planned, const TensorView& lengths, void* stream) const = 0;

  virtual std::int32_t status(const PlannedProblem& planned, void* stream) const = 0;

  virtual void append(const TensorView& cache, KvFormat format, const TensorView& rows,
                      const TensorView& slots, void* stream) const = 0;

  virtual void gather(const TensorView& cache, KvFormat format, const TensorView& slots,
                      const TensorView& rows, void* stream) const = 0;
  virtual void quantise(const TensorView& plain, const TensorView& cache, KvFormat format,
                        void* stream) const = 0;
  virtual void dequantise(const TensorView& cache, KvFormat format, const TensorView& plain,
                          void* stream) const = 0;

  virtual void merge(std::span<const PartialResult> parts, const TensorView& attn_sink,
                     const Outputs& outputs, void* stream) const = 0;
};

}  // namespace flashmla::backends
