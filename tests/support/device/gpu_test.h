// A test that needs a GPU and memory on it. It is skipped with the reason of the backend where
// there is no GPU.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "flashmla/backends.h"
#include "support/device/memory_of.h"

namespace flashmla::support {

class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const BackendDescription& backend : list_backends())
      if (backend.name == "cuda" && !backend.unavailable.empty())
        GTEST_SKIP() << backend.unavailable;
    memory_ = memory_of("cuda");
  }

  std::unique_ptr<Memory> memory_;
};

}  // namespace flashmla::support
