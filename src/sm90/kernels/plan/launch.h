// Launching the kernels that make a schedule.
#pragma once

#include <cstdint>

#include "schedule/plan_layout.h"

namespace flashmla::sm90::plan {

// `lengths` is int32 [b] on the device. The kernel clamps it to 0 … max_tokens.
void launch_schedule(const schedule::SplitParams& params, const schedule::PlanMemory& memory,
                     const std::int32_t* lengths, std::int32_t max_tokens, void* stream);

// Copies lengths [count] from the host to the device. They are read before the function returns.
void launch_write_lengths(const std::int32_t* host_lengths, std::int32_t* lengths,
                          std::int32_t count, void* stream);

// Sets lengths [count] to `tokens`.
void launch_fill_lengths(std::int32_t* lengths, std::int32_t count, std::int32_t tokens,
                         void* stream);

// Sets the status word to 1 + the first request that has more than `most` tokens, unless the status
// word names an earlier request.
void launch_report_longer(const std::int32_t* lengths, std::int32_t count, std::int32_t most,
                          std::int32_t* status, void* stream);

// Loads the kernels, so that later launches can be captured.
void load();

}  // namespace flashmla::sm90::plan
