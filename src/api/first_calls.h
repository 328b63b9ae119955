// One message to the log callback at the first call of each kind of kernel.
#pragma once

#include <cstdint>

#include "flashmla/plan.h"

namespace flashmla::api {

// Sends a message that names the kernel of a plan's calls, unless the callback with this number has
// had the same message.
void tell_first_call(const Plan::State& state, std::uint32_t callback_number);

}  // namespace flashmla::api
