// Failures of the CUDA runtime as errors of the library.
#pragma once

#include <cuda_runtime_api.h>

#include "core/text.h"
#include "flashmla/error.h"

namespace flashmla::gpu {

inline void check(cudaError_t result, const char* call) {
  if (result == cudaSuccess)
    return;
  cudaGetLastError();  // what is not sticky must not be reported by somebody else's next call
  throw Error(ErrorCode::device_failure, call,
              text(cudaGetErrorName(result), " (", cudaGetErrorString(result), ")"), "success");
}

}  // namespace flashmla::gpu
