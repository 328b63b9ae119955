// A mark in a stream. Built where the CUDA toolkit is.
#pragma once

#include <cuda_runtime_api.h>

#include <utility>

#include "support/device/cuda_call.h"

namespace flashmla::support {

class Event {
 public:
  Event() { cuda_call(cudaEventCreate(&event_), "cudaEventCreate"); }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~Event() {
    if (event_ != nullptr)
      cudaEventDestroy(event_);
  }

  void record(cudaStream_t stream) const {
    cuda_call(cudaEventRecord(event_, stream), "cudaEventRecord");
  }

  // Seconds from `start` to this one; waits for both.
  double seconds_since(const Event& start) const {
    cuda_call(cudaEventSynchronize(event_), "cudaEventSynchronize");
    float milliseconds = 0;
    cuda_call(cudaEventElapsedTime(&milliseconds, start.event_, event_), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace flashmla::support
