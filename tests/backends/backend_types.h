// The backends that tests are typed on. One that this machine cannot use is skipped, with its
// reason.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "flashmla/backends.h"
#include "support/memory.h"

namespace flashmla::backends {

struct Cpu {
  static constexpr const char* name = "cpu";
  static std::unique_ptr<support::Memory> memory() {
    return std::make_unique<support::HostMemory>();
  }
};

using BackendTypes = ::testing::Types<Cpu>;

struct NameOfBackend {
  template <class Backend>
  static std::string GetName(int /*index*/) {
    return Backend::name;
  }
};

template <class Backend>
class BackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto known = list_backends();
    const auto found = std::ranges::find(known, Backend::name, &BackendDescription::name);
    ASSERT_NE(found, known.end()) << "this build has no backend " << Backend::name;
    if (!found->unavailable.empty())
      GTEST_SKIP() << Backend::name << ": " << found->unavailable;
  }

  std::unique_ptr<support::Memory> memory_ = Backend::memory();
};

}  // namespace flashmla::backends
