// The suites of sparse decoding and of sparse prefill, as dense_suite.h.
#pragma once

#include <cstdint>

#include "support/sparse_case.h"
#include "support/suite_size.h"

namespace flashmla::support {

class SparseSuite {
 public:
  // `kind` is sparse_decode or sparse_prefill. `on_gpu`: strides are those that a GPU takes, and
  // the full suite of decoding goes on with larger cases.
  SparseSuite(AttentionKind kind, SuiteSize size, std::uint64_t seed, bool on_gpu = false)
      : kind_(kind), size_(size), seed_(seed), on_gpu_(on_gpu) {}

  std::int64_t cases() const;
  SparseCase draw(std::int64_t index) const;

 private:
  SparseCase draw_any(std::int64_t index) const;  // without seed and alignment

  AttentionKind kind_;
  SuiteSize size_;
  std::uint64_t seed_;
  bool on_gpu_;
};

}  // namespace flashmla::support
