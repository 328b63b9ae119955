// The suites of dense cases. A suite is a list of cases that follow from its seed one by one, so
// that each can be drawn alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "support/case.h"

namespace flashmla::support {

enum class SuiteSize {
  full,     // 1,040 cases: 260 or more above 4,096 tokens, 52 of them above 32,768, up to 131,072
  shorter,  // 300 cases: the same in small, about a minute
  tiny,     // 150 cases of a few pages, for runs under sanitizers
};

constexpr std::string_view name_of(SuiteSize size) {
  switch (size) {
    case SuiteSize::full:
      return "full";
    case SuiteSize::shorter:
      return "short";
    case SuiteSize::tiny:
      return "tiny";
  }
  return "?";
}

std::optional<SuiteSize> suite_size_of(std::string_view name);

class DenseSuite {
 public:
  DenseSuite(SuiteSize size, std::uint64_t seed) : size_(size), seed_(seed) {}

  std::int64_t cases() const;
  DenseCase draw(std::int64_t index) const;

 private:
  SuiteSize size_;
  std::uint64_t seed_;
};

}  // namespace flashmla::support
