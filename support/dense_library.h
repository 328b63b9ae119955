// Computes a dense case through the library's interface.
#pragma once

#include "support/case_result.h"
#include "support/generate.h"
#include "support/memory.h"

namespace flashmla::support {

// make_plan → schedule → run; where the case says so, append() before and merge() after.
void run_library(DenseTensors& tensors, Memory& memory, CaseResult& result);

}  // namespace flashmla::support
