// Small dense cases for runs under the sanitizers of a GPU: together they reach every kernel and
// every branch of its launch. Which those are follows from docs/kernels.md: types and d_qk; tiles
// of 16, 32 and 64 rows, pairs of these, and fours of the last; boxes of a cache's whole blocks or
// pages, or rows one by one; boxes of queries, or rows; aligned results or not; split requests in
// one list or fixed pieces; more requests, or tiles, than a block of threads or a GPU has room for;
// append and merge.
#pragma once

#include <cstdint>

#include "support/case.h"

namespace flashmla::support {

std::int64_t sanitizer_cases();
DenseCase sanitizer_case(std::int64_t index, std::uint64_t seed);

}  // namespace flashmla::support
