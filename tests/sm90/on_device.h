// Runs functions of the device for tests. Compiled by nvcc, the threads of a test are those of a
// small kernel, and the test is skipped without a Hopper GPU. Compiled by a C++ compiler, they are
// turns of a loop on the host, which is enough for functions of plain arithmetic.
//
// A body is a structure with operator(): functions in gtest's classes cannot hold device lambdas.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <vector>

#include "sm90/ptx/device.h"

#if defined(__CUDACC__)
#include "tests/sm90/on_gpu.h"
#else

namespace flashmla::sm90::test {

class DeviceTest : public ::testing::Test {};

// Memory that bodies read and write. Fresh memory has all bits set: its floats are NaN.
template <class T>
class Memory {
 public:
  explicit Memory(std::size_t count) : values_(count) {
    std::memset(static_cast<void*>(values_.data()), 0xff, count * sizeof(T));
  }
  explicit Memory(const std::vector<T>& values) : values_(values) {}

  T* data() { return values_.data(); }
  std::vector<T> read() const { return values_; }

 private:
  std::vector<T> values_;
};

// Calls body(thread) for each thread.
template <class Body>
void run_threads(int threads, const Body& body) {
  for (int thread = 0; thread < threads; ++thread)
    body(thread);
}

}  // namespace flashmla::sm90::test

#endif
