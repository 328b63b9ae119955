#include "backends/cpu/append.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/thread_pool.h"

namespace flashmla::backends::cpu {

namespace {

constexpr std::int64_t bytes_worth_a_thread = 1 << 20;

void append_row(const TensorView& cache, const TensorView& rows, std::int64_t row,
                std::int64_t slot) {
  const auto element = static_cast<std::int64_t>(size_of(cache.dtype));
  const std::int64_t page = slot / cache.shape[1];
  const std::int64_t in_page = slot % cache.shape[1];
  for (std::int64_t head = 0; head < rows.shape[1]; ++head) {
    const std::int64_t target =
        page * cache.strides[0] + in_page * cache.strides[1] + head * cache.strides[2];
    const std::int64_t source = row * rows.strides[0] + head * rows.strides[1];
    std::memcpy(static_cast<std::byte*>(cache.data) + target * element,
                static_cast<const std::byte*>(rows.data) + source * element,
                static_cast<std::size_t>(rows.shape[2] * element));
  }
}

}  // namespace

void append_rows(const TensorView& cache, const TensorView& rows, const TensorView& slots) {
  const auto* const slot_of = static_cast<const std::int64_t*>(slots.data);
  const std::int64_t count = rows.shape[0];
  const std::int64_t capacity = cache.shape[0] * cache.shape[1];
  const std::int64_t bytes = rows.element_count() * static_cast<std::int64_t>(size_of(rows.dtype));
  // A slot belongs to one part, so that no two threads write it and its last row wins.
  const std::int64_t parts = std::clamp<std::int64_t>(bytes / bytes_worth_a_thread, 1, threads());
  parallel_for(parts, 0, [&](std::int64_t part) {
    for (std::int64_t row = 0; row < count; ++row) {
      const std::int64_t slot = slot_of[row * slots.strides[0]];
      if (slot >= 0 && slot < capacity && slot % parts == part)
        append_row(cache, rows, row, slot);
    }
  });
}

}  // namespace flashmla::backends::cpu
