// The sizes that every suite of cases comes in.
#pragma once

#include <optional>
#include <string_view>

namespace flashmla::support {

enum class SuiteSize {
  full,       // dense: 1,040 cases up to 131,072 tokens, on a GPU 1,524; sparse 900, on a GPU
              // 1,510; prefill 600
  shorter,    // 300, 150 and 100 cases: the same in small, about a minute each
  tiny,       // 150, 100 and 80 cases of a few pages, for runs under sanitizers of the host
  sanitizer,  // decoding: small cases that reach every kernel of a GPU, every branch of its launch
};

constexpr std::string_view name_of(SuiteSize size) {
  switch (size) {
    case SuiteSize::full:
      return "full";
    case SuiteSize::shorter:
      return "short";
    case SuiteSize::tiny:
      return "tiny";
    case SuiteSize::sanitizer:
      return "sanitizer";
  }
  return "?";
}

std::optional<SuiteSize> suite_size_of(std::string_view name);

}  // namespace flashmla::support
