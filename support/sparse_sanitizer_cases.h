// Small cases of sparse decoding for runs under the sanitizers of a GPU. Together they reach:
// - tiles of 16, 32 and 64 rows, and two and more tiles of 64, that are full or not
// - every format, bf16 rows of both d_qk, an extra cache with pages of another size
// - split lists and whole ones, fixed pieces, a single worker, more requests than workers
// - lists without entries, and without valid ones; blocks without valid entries; last blocks that
//   are not full
// - several query tokens, rows of results that are not aligned, page strides beyond 10^6
// - rows with NaN that are expected in results; scales of every kind
#pragma once

#include <cstdint>

#include "support/sparse_case.h"

namespace flashmla::support {

std::int64_t sparse_sanitizer_cases();
SparseCase sparse_sanitizer_case(std::int64_t index);

}  // namespace flashmla::support
