// A schedule as text, for people.
#pragma once

#include <string>

#include "schedule/plan_layout.h"
#include "schedule/split_kv.h"

namespace flashmla::schedule {

// One line for the whole division, then one line for each worker that has work:
//   worker 3: requests 1 … 2, from block 12 to block 7, 2 segments, 41 blocks, 61.3 us
std::string describe(const SplitParams& params, const PlanMemory& memory);

}  // namespace flashmla::schedule
