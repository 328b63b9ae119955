// Turns failures of the CUDA runtime into errors of the library.
#pragma once

#include <cuda_runtime_api.h>

#include "core/text.h"
#include "flashmla/error.h"

namespace flashmla::gpu {

inline void check(cudaError_t result, const char* call) {
  if (result == cudaSuccess)
    return;
  cudaGetLastError();  // clears the error, so that the caller's next check does not report it again
  throw Error(ErrorCode::device_failure, call,
              text(cudaGetErrorName(result), " (", cudaGetErrorString(result), ")"), "success");
}

}  // namespace flashmla::gpu
