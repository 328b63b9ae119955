// Launching the kernels that make a schedule.
#pragma once

#include <cstdint>

#include "schedule/plan_layout.h"

namespace flashmla::sm90::plan {

// lengths: int32 [b] on the device; clamped to 0 … max_tokens.
void launch_schedule(const schedule::SplitParams& params, const schedule::PlanMemory& memory,
                     const std::int32_t* lengths, std::int32_t max_tokens, void* stream);

// Copies lengths [count] that the host holds to the device; they are read before this returns.
void launch_write_lengths(const std::int32_t* host_lengths, std::int32_t* lengths,
                          std::int32_t count, void* stream);

// Sets the status word where a request has more than `most` tokens: 1 + the first such request,
// unless it names an earlier one.
void launch_report_longer(const std::int32_t* lengths, std::int32_t count, std::int32_t most,
                          std::int32_t* status, void* stream);

// Loads the kernels, so that later launches can be captured.
void load();

}  // namespace flashmla::sm90::plan
