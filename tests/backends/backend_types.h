// The backends for which typed tests run. A backend that this machine cannot use is skipped with
// its reason.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "flashmla/backends.h"
#include "support/device/memory_of.h"
#include "support/memory.h"

namespace flashmla::backends {

struct Cpu {
  static constexpr const char* name = "cpu";
  static std::unique_ptr<support::Memory> memory() {
    return std::make_unique<support::HostMemory>();
  }
};

// Why a backend of this build cannot be used on this machine. Empty where it can.
inline std::string unusable(const std::string& name) {
  const auto known = list_backends();
  const auto found = std::ranges::find(known, name, &BackendDescription::name);
  return found == known.end() ? "this build has no backend " + name : found->unavailable;
}

#if defined(FLASHMLA_HAS_CUDA)
struct Cuda {
  static constexpr const char* name = "cuda";
  static std::unique_ptr<support::Memory> memory() {
    return unusable(name).empty() ? support::memory_of(name) : nullptr;
  }
};
using BackendTypes = ::testing::Types<Cpu, Cuda>;
#else
using BackendTypes = ::testing::Types<Cpu>;
#endif

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
    if (const std::string reason = unusable(Backend::name); !reason.empty())
      GTEST_SKIP() << Backend::name << ": " << reason;
  }

  std::unique_ptr<support::Memory> memory_ = Backend::memory();
};

}  // namespace flashmla::backends
