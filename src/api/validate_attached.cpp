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

// The first `count` entries of the array `name` must be the wanted ones.
template <class T>
void expect_same(const char* name, const T* found, const T* wanted, std::int32_t count) {
  for (std::int32_t i = 0; i < count; ++i)
    if (std::memcmp(found + i, wanted + i, sizeof(T)) != 0)
      reject_schedule(
          text("a schedule whose ", name, "[", i, "] does not follow from its lengths"));
}

void validate_lengths_and_status(const backends::PlannedProblem& planned) {
  const schedule::PlanMemory memory = planned.memory();
  const std::int64_t max_tokens = backends::ScheduleShape(planned.problem).tokens;
  const bool dense = planned.problem.kind == AttentionKind::dense_decode;
  const std::int64_t min_tokens = dense ? 0 : max_tokens;
  for (std::int32_t r = 0; r < planned.params.requests; ++r)
    if (memory.lengths[r] < min_tokens || memory.lengths[r] > max_tokens)
      reject_schedule(text("a schedule with ", memory.lengths[r], " tokens for request ", r));
  if (*memory.status < 0 || *memory.status > planned.params.requests)
    reject_schedule(text("a schedule whose status is ", *memory.status));
}

}  // namespace

// A schedule follows from its lengths alone. So it is made again from them and compared.
void validate_attached(const backends::PlannedProblem& planned) {
  validate_lengths_and_status(planned);
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
