#include "support/suite_size.h"

namespace flashmla::support {

std::optional<SuiteSize> suite_size_of(std::string_view name) {
  for (const SuiteSize size :
       {SuiteSize::full, SuiteSize::shorter, SuiteSize::tiny, SuiteSize::sanitizer})
    if (name == name_of(size))
      return size;
  return std::nullopt;
}

}  // namespace flashmla::support
