// The suites of sparse decoding and of sparse prefill, as dense_suite.h.
#pragma once

#include <cstdint>

#include "support/sparse_case.h"
#include "support/suite_size.h"

namespace flashmla::support {

class SparseSuite {
 public:
  // `kind` is sparse_decode or sparse_prefill.
  SparseSuite(AttentionKind kind, SuiteSize size, std::uint64_t seed)
      : kind_(kind), size_(size), seed_(seed) {}

  std::int64_t cases() const;
  SparseCase draw(std::int64_t index) const;

 private:
  AttentionKind kind_;
  SuiteSize size_;
  std::uint64_t seed_;
};

}  // namespace flashmla::support
