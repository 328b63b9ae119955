// What a cached row of a sparse case holds: random numbers, scales of every kind, NaN.
#pragma once

#include <cstddef>
#include <cstdint>

#include "support/sparse_case.h"

namespace flashmla::support {

// Where a row lies in its page.
struct RowPlace {
  std::byte* page;
  std::int64_t index;  // of the row in the page
  std::int64_t page_size;
  std::int64_t row_stride;  // elements
};

// Writes the row of a key. With `nan`, one of its numbers or scales is NaN.
void write_cached_row(const SparseCase& sparse_case, std::uint64_t key, bool nan,
                      const RowPlace& place);

}  // namespace flashmla::support
