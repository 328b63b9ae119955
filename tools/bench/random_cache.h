// Random rows, and caches of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "flashmla/kv_format.h"
#include "support/fp8.h"
#include "support/memory.h"

namespace flashmla::tools {

// The pages of a cache. Pages may be further apart than their tokens need.
struct CachePages {
  std::int64_t count = 0;
  std::int64_t page_size = 1;   // tokens in a page
  std::int64_t page_bytes = 0;  // from one page to the next

  std::size_t bytes() const { return static_cast<std::size_t>(count * page_bytes); }
};

// [rows, columns] of unit-scale random numbers, bf16 or fp16.
std::shared_ptr<std::byte> random_rows(support::Memory& memory, DType type, std::int64_t rows,
                                       std::int64_t columns, std::uint64_t key);

// A cache of an FP8 format whose tokens are quantised random rows of unit scale. Some thousand
// tokens repeat, since the host makes them; each repetition lies elsewhere in memory.
std::shared_ptr<std::byte> random_fp8_cache(support::Memory& memory, KvFormat format,
                                            const CachePages& pages, support::ScaleRule rule,
                                            std::uint64_t key);

}  // namespace flashmla::tools
