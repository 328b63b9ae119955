// Cases of sparse decoding at the limits of its sizes, for a GPU alone:
// - 131,072 query tokens, and 131,072 requests
// - caches beyond 2^31 bytes and elements of every format, also by their page strides alone
// - lists of 16,384 entries and more in many requests and query tokens
// - many lists of which none has a valid entry
#pragma once

#include <cstdint>

#include "support/sparse_case.h"

namespace flashmla::support {

std::int64_t sparse_extreme_cases();
SparseCase sparse_extreme_case(std::int64_t which);

}  // namespace flashmla::support
