// The backend for NVIDIA Hopper GPUs (sm_90a).
#pragma once

#include "backends/backend.h"

namespace flashmla::backends::cuda {

const Backend& cuda_backend();

}  // namespace flashmla::backends::cuda
