#include "api/first_calls.h"

#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "api/plan_state.h"
#include "core/log.h"
#include "core/text.h"

namespace flashmla::api {

namespace {

// What the callback of a number has been told.
struct Told {
  std::mutex mutex;
  std::uint32_t callback_number = 0;
  std::set<std::string> messages;

  // Whether the message is new to the callback.
  bool add(const std::string& message, std::uint32_t number) {
    const std::scoped_lock lock(mutex);
    if (std::exchange(callback_number, number) != number)
      messages.clear();
    return messages.insert(message).second;
  }
};

// Never destroyed: a thread may be in a call when the process ends.
Told& told() {
  static Told& all = *new Told;
  return all;
}

std::string message_of(const Plan::State& state) {
  const Problem& problem = state.problem;
  return text(name_of(problem.kind), " ", name_of(problem.query_type), ", cache ",
              name_of(problem.kv_format), ": kernel ", state.planned.computation->kernel(), ", on ",
              describe(problem.device));
}

}  // namespace

void tell_first_call(const Plan::State& state, std::uint32_t callback_number) {
  // Most calls are not the first one of their plan.
  if (state.told.exchange(callback_number, std::memory_order_relaxed) == callback_number)
    return;
  const std::string message = message_of(state);
  if (told().add(message, callback_number))
    log(message);
}

}  // namespace flashmla::api
