// A workload as a call that can be made again and again: its plan, and tensors on a device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "flashmla/decode.h"
#include "support/fp8.h"
#include "support/memory.h"
#include "tools/bench/workload.h"
#include "tools/scheduled_plan.h"

namespace flashmla::tools {

// The tensors that all calls of a bench share: each is as large as the largest workload needs. Rows
// and queries are random numbers of unit scale. All workloads have the same kind of rows.
class BenchTensors {
 public:
  // `rule`: of the scales in FP8 caches.
  BenchTensors(const Workloads& workloads, std::uint64_t seed, support::Memory& memory,
               support::ScaleRule rule = support::ScaleRule::power_of_two);

  // Those of a workload, without the places of its tokens.
  CallMemory view(const Workload& workload) const;

 private:
  Device device_;
  std::shared_ptr<std::byte> cache_;
  std::map<std::int64_t, std::shared_ptr<std::byte>> extra_caches_;  // by page size
  std::shared_ptr<std::byte> queries_;
  std::shared_ptr<std::byte> out_;
  std::shared_ptr<std::byte> lse_;
  std::shared_ptr<std::byte> max_logits_;
};

// Bytes of these tensors.
double bench_bytes(const Workloads& workloads);

class Call {
 public:
  // Makes the schedule as well. `tensors` and `workload` outlive the call.
  Call(const Workload& workload, const BenchTensors& tensors, support::Memory& memory);

  void schedule(void* stream) { scheduled_.schedule(stream); }
  void run(void* stream) const;
  // The same with another cache in the place of the shared one.
  void run_with_cache(std::byte* cache) const;

  const Workload& workload() const { return workload_; }
  const std::byte* cache() const { return static_cast<const std::byte*>(inputs_.kv_cache.data); }
  std::int32_t status() const { return scheduled_.plan().status(); }

 private:
  const Workload& workload_;
  ScheduledPlan scheduled_;
  std::shared_ptr<std::byte> places_;
  std::shared_ptr<std::byte> extra_places_;
  Inputs inputs_;
  Outputs outputs_;
};

}  // namespace flashmla::tools
