// The seam between the front door and what computes. The front door (src/api) validates everything
// that the host can see; a backend computes, on memory that the caller owns.
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
#include "core/text.h"
#include "flashmla/decode.h"
#include "flashmla/error.h"
#include "flashmla/kv_format.h"
#include "flashmla/merge.h"
#include "flashmla/problem.h"
#include "schedule/plan_layout.h"
#include "schedule/split_kv.h"
#include "schedule/walk.h"

namespace flashmla::backends {

class Computation;

// A problem, how its requests are divided, and the schedule once it is made.
struct PlannedProblem {
  Problem problem;
  schedule::SplitParams params;
  void* plan_workspace = nullptr;  // laid out by schedule::PlanLayout(params)
  bool may_split = true;           // false where schedule() knows that no request is split
  std::shared_ptr<const Computation> computation;

  schedule::PlanMemory memory() const { return {schedule::PlanLayout(params), plan_workspace}; }

  // The schedule as its workers read it. Any numbers may stand in it: what they lead to lies inside
  // of the tensors and workspaces of the problem.
  schedule::Walk walk() const {
    constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    const std::int64_t tokens = ScheduleShape(problem).tokens;
    const std::int64_t partials = schedule::max_partials(params, tokens);
    return memory().walk(params, static_cast<std::int32_t>(tokens),
                         static_cast<std::int32_t>(std::min(partials, most)));
  }
};

// How a backend computes a problem: everything that follows from the problem alone is decided when
// the plan is made, and the calls of the plan only use it.
class Computation {
 public:
  schedule::SplitParams params;  // workers, block size and costs
  PartialLayout partials;        // of the run workspace

  Computation(const schedule::SplitParams& split, const PartialLayout& layout)
      : params(split), partials(layout) {}
  virtual ~Computation() = default;
  Computation(const Computation&) = delete;
  Computation& operator=(const Computation&) = delete;

  // Which kernel computes the problem, rows of its tiles and what shares their keys; for people.
  // Where two problems agree in it and in everything but the batch, a request is cut alike.
  virtual std::string kernel() const = 0;

  // Loads whatever a first call would otherwise have to load.
  virtual void prepare() const {}

  // All tensors fit the problem. `softmax_scale` is the one to use.
  virtual void run(const PlannedProblem& planned, const Inputs& inputs, const Outputs& outputs,
                   float softmax_scale, void* run_workspace, void* stream) const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;
  virtual DeviceType device_type() const = 0;
  virtual std::int32_t device_count() const = 0;
  virtual std::vector<std::string> devices() const = 0;  // what they are, a line each

  // Why the backend cannot be used on this machine; nothing when it can.
  virtual std::optional<std::string> unavailable() const = 0;

  // Why the backend does not serve a valid problem on its own device type; nothing when it does.
  virtual std::optional<std::string> refuses(const Problem& problem) const = 0;

  // Decides how to compute a problem that it does not refuse.
  virtual std::unique_ptr<const Computation> decide(const Problem& problem) const = 0;

  // Fills planned.memory() from `lengths`. Host lengths are within 0 … max_pages · page_size
  // already.
  virtual void schedule(PlannedProblem& planned, const TensorView& lengths, void* stream) const = 0;

  virtual std::int32_t status(const PlannedProblem& planned, void* stream) const = 0;

  virtual void append(const TensorView& cache, KvFormat format, const TensorView& rows,
                      const TensorView& slots, void* stream) const = 0;

  // A backend need not have these.
  virtual void gather(const TensorView& cache, KvFormat /*format*/, const TensorView& /*slots*/,
                      const TensorView& /*rows*/, void* /*stream*/) const {
    lacks("gather", cache);
  }

  virtual void quantise(const TensorView& /*plain*/, const TensorView& cache, KvFormat /*format*/,
                        void* /*stream*/) const {
    lacks("quantise", cache);
  }

  virtual void dequantise(const TensorView& cache, KvFormat /*format*/, const TensorView& /*plain*/,
                          void* /*stream*/) const {
    lacks("dequantise", cache);
  }

  virtual void merge(std::span<const PartialResult> parts, const TensorView& attn_sink,
                     const Outputs& outputs, void* stream) const = 0;

 private:
  [[noreturn]] void lacks(const char* call, const TensorView& cache) const {
    throw Error(ErrorCode::unsupported, "cache", text("a tensor on ", describe(cache.device)),
                text("one whose backend has ", call, "(), which ", name(), " has not"));
  }
};

}  // namespace flashmla::backends
