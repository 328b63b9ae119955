// One message to the log callback at the first call of each kind of kernel.
#pragma once

#include <cstdint>

#include "flashmla/plan.h"

namespace flashmla::api {

// Says what computes a plan's calls, unless the callback of this number has been told the same
// already.
void tell_first_call(const Plan::State& state, std::uint32_t callback_number);

}  // namespace flashmla::api
