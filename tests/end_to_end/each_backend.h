// Tests of the command that run for every backend. They are skipped with a reason where a backend
// is missing.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "flashmla/backends.h"

namespace flashmla::tests {

class EachBackend : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    for (const BackendDescription& known : list_backends())
      if (known.name == GetParam()) {
        if (!known.unavailable.empty())
          GTEST_SKIP() << known.unavailable;
        return;
      }
    GTEST_SKIP() << "no backend " << GetParam() << " in this build";
  }

  static std::string backend() { return GetParam(); }
};

inline auto every_backend() {
  return testing::Values("cpu", "cuda");
}

inline std::string backend_name(const testing::TestParamInfo<const char*>& info) {
  return info.param;
}

}  // namespace flashmla::tests
