// Small dense cases for runs under the sanitizers of a GPU. Together they reach every kernel of
// docs/kernels.md and every branch of its launch:
// - both types and both d_qk
// - tiles of 16, 32 and 64 rows, clusters of two of each, and clusters of four with 64 rows
// - a cache that is loaded by boxes of whole blocks, by boxes of small pages, or row by row
// - queries that are loaded by boxes or row by row, and results that are aligned or not
// - split requests in one list, or fixed pieces
// - more requests or tiles than a thread block or a GPU has room for
// - append and merge
#pragma once

#include <cstdint>

#include "support/case.h"

namespace flashmla::support {

std::int64_t sanitizer_cases();
DenseCase sanitizer_case(std::int64_t index, std::uint64_t seed);

}  // namespace flashmla::support
