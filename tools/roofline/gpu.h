// The roofline of a GPU.
#pragma once

#include "tools/roofline.h"

namespace flashmla::tools {

// The rates of GPU `index`, which has to be a Hopper: of a streaming read of far more than the L2
// cache holds, and of bf16 products of its tensor cores on shared memory. Throws std::runtime_error
// where a call fails.
Roofline gpu_roofline(int index);

}  // namespace flashmla::tools
