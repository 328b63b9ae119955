// The suites of dense cases. A suite is a list of cases that follow from its seed one by one, so
// that each can be drawn alone.
#pragma once

#include <cstdint>

#include "support/case.h"
#include "support/suite_size.h"

namespace flashmla::support {

class DenseSuite {
 public:
  // `on_gpu`: the full suite goes on with larger cases, whose results only a GPU has soon enough.
  DenseSuite(SuiteSize size, std::uint64_t seed, bool on_gpu = false)
      : size_(size), seed_(seed), on_gpu_(on_gpu) {}

  std::int64_t cases() const;
  DenseCase draw(std::int64_t index) const;

 private:
  SuiteSize size_;
  std::uint64_t seed_;
  bool on_gpu_;
};

}  // namespace flashmla::support
