#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "api/validate.h"
#include "core/check.h"

namespace flashmla::api {

namespace {

[[noreturn]] void reject_schedule(std::string given) {
  reject("plan_workspace", std::move(given),
         "a schedule that schedule() made for a plan of an equal problem");
}

// `count` numbers or rows of the part `name` are those that are wanted.
template <class T>
void expect_same(const char* name, const T* found, const T* wanted, std::int32_t count) {
  for (std::int32_t i = 0; i < count; ++i)
    if (std::memcmp(found + i, wanted + i, sizeof(T)) != 0)
      reject_schedule(text("one whose ", name, "[", i, "] is not that of its lengths"));
}

void validate_numbers(const backends::PlannedProblem& planned) {
  const schedule::PlanMemory memory = planned.memory();
  const std::int64_t most = backends::ScheduleShape(planned.problem).tokens;
  const std::int64_t least = planned.problem.kind == AttentionKind::dense_decode ? 0 : most;
  for (std::int32_t r = 0; r < planned.params.requests; ++r)
    if (memory.lengths[r] < least || memory.lengths[r] > most)
      reject_schedule(text("one of ", memory.lengths[r], " tokens for request ", r));
  if (*memory.status < 0 || *memory.status > planned.params.requests)
    reject_schedule(text("one whose status is ", *memory.status));
}

}  // namespace

// A schedule follows from its lengths alone, so that whether it is sound needs no rules of its own.
void validate_attached(const backends::PlannedProblem& planned) {
  validate_numbers(planned);
  const schedule::SplitParams& params = planned.params;
  const schedule::PlanMemory found = planned.memory();
  std::vector<std::byte> workspace(schedule::PlanLayout(params).bytes);
  const schedule::PlanMemory wanted(schedule::PlanLayout(params), workspace.data());
  schedule::split_kv(params, found.lengths, wanted.split_memory(), schedule::SerialTeam{});
  expect_same("work", found.work, wanted.work, params.workers);
  expect_same("split_offset", found.split_offset, wanted.split_offset, params.requests + 1);
  expect_same("split_list", found.split_list, wanted.split_list, params.workers + 1);
}

}  // namespace flashmla::api
