#include "backends/cpu/cache_rows.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/cache_slots.h"
#include "backends/cpu/fp8_token.h"
#include "backends/cpu/thread_pool.h"

namespace flashmla::backends::cpu {

namespace {

// NOTE: a tensor without elements may have no memory. Each function below returns before it
// computes an address in such a tensor.
constexpr std::int64_t min_bytes_of_thread = 1 << 20;
constexpr std::int64_t slots_at_a_time = 64;

// Copies rows between a cache and a tensor of rows. A row has h_kv heads of `elements` elements.
class RowCopy {
 public:
  RowCopy(const TensorView& cache, KvFormat format, std::int64_t heads, std::int64_t elements)
      : slots_(cache, format),
        format_(format),
        heads_(heads),
        head_stride_(cache.strides[2]),
        elements_(elements) {}

  const CacheSlots& slots() const { return slots_; }

  // `row` points to the first head of a row. `head_stride` is in elements of 16 bits.
  void write(const std::uint16_t* row, std::int64_t head_stride, std::int64_t slot) const {
    const CachedToken token = slots_.locate(slot);
    if (!is_plain(format_))
      return quantise_token(format_, row, token);
    for (std::int64_t head = 0; head < heads_; ++head)
      std::memcpy(token.row + head * head_stride_ * 2, row + head * head_stride, row_bytes());
  }

  void read(std::int64_t slot, std::uint16_t* row, std::int64_t head_stride) const {
    const CachedToken token = slots_.locate(slot);
    if (!is_plain(format_))
      return dequantise_token(format_, token, row);
    for (std::int64_t head = 0; head < heads_; ++head)
      std::memcpy(row + head * head_stride, token.row + head * head_stride_ * 2, row_bytes());
  }

  void clear(std::uint16_t* row, std::int64_t head_stride) const {
    for (std::int64_t head = 0; head < heads_; ++head)
      std::fill_n(row + head * head_stride, elements_, std::uint16_t{0});
  }

 private:
  std::size_t row_bytes() const {
    return static_cast<std::size_t>(elements_) * sizeof(std::uint16_t);
  }

  CacheSlots slots_;
  KvFormat format_;
  std::int64_t heads_;
  std::int64_t head_stride_;  // of the cache, in elements of 16 bits
  std::int64_t elements_;
};

RowCopy copy_of_rows(const TensorView& cache, KvFormat format, const TensorView& rows) {
  return {cache, format, rows.shape[1], rows.shape[2]};
}

std::uint16_t* row_of(const TensorView& rows, std::int64_t row) {
  return static_cast<std::uint16_t*>(rows.data) + row * rows.strides[0];
}

std::int64_t slot_of(const TensorView& slots, std::int64_t row) {
  return slots.dtype == DType::i32 ? static_cast<const std::int32_t*>(slots.data)[row]
                                   : static_cast<const std::int64_t*>(slots.data)[row];
}

// Calls body(slot, row of `plain`) for every slot of a cache.
template <class Body>
void for_each_slot(const TensorView& plain, Body body) {
  if (plain.element_count() == 0)
    return;
  const std::int64_t count = plain.shape[0] * plain.shape[1];
  parallel_for((count + slots_at_a_time - 1) / slots_at_a_time, 0, [&](std::int64_t unit) {
    const std::int64_t end = std::min(count, (unit + 1) * slots_at_a_time);
    for (std::int64_t slot = unit * slots_at_a_time; slot < end; ++slot)
      body(slot, static_cast<std::uint16_t*>(plain.data) +
                     slot / plain.shape[1] * plain.strides[0] +
                     slot % plain.shape[1] * plain.strides[1]);
  });
}

}  // namespace

void append_rows(const TensorView& cache, KvFormat format, const TensorView& rows,
                 const TensorView& slots) {
  if (rows.element_count() == 0)
    return;
  const RowCopy copy = copy_of_rows(cache, format, rows);
  const std::int64_t bytes = rows.element_count() * static_cast<std::int64_t>(size_of(rows.dtype));
  // Writer slot % writers writes a slot. So no two threads write the same slot, and the last one of
  // its rows stays.
  const std::int64_t writers = std::clamp<std::int64_t>(bytes / min_bytes_of_thread, 1, threads());
  parallel_for(writers, 0, [&](std::int64_t writer) {
    for (std::int64_t row = 0; row < rows.shape[0]; ++row) {
      const std::int64_t slot = slot_of(slots, row);
      if (copy.slots().holds(slot) && slot % writers == writer)
        copy.write(row_of(rows, row), rows.strides[1], slot);
    }
  });
}

void gather_rows(const TensorView& cache, KvFormat format, const TensorView& slots,
                 const TensorView& rows) {
  if (rows.element_count() == 0)
    return;
  const RowCopy copy = copy_of_rows(cache, format, rows);
  const std::int64_t count = rows.shape[0];
  parallel_for((count + slots_at_a_time - 1) / slots_at_a_time, 0, [&](std::int64_t unit) {
    const std::int64_t end = std::min(count, (unit + 1) * slots_at_a_time);
    for (std::int64_t row = unit * slots_at_a_time; row < end; ++row) {
      const std::int64_t slot = slot_of(slots, row);
      if (copy.slots().holds(slot))
        copy.read(slot, row_of(rows, row), rows.strides[1]);
      else
        copy.clear(row_of(rows, row), rows.strides[1]);
    }
  });
}

void quantise_cache(const TensorView& plain, const TensorView& cache, KvFormat format) {
  const RowCopy copy(cache, format, plain.shape[2], plain.shape[3]);
  for_each_slot(plain, [&](std::int64_t slot, const std::uint16_t* row) {
    copy.write(row, plain.strides[2], slot);
  });
}

void dequantise_cache(const TensorView& cache, KvFormat format, const TensorView& plain) {
  const RowCopy copy(cache, format, plain.shape[2], plain.shape[3]);
  for_each_slot(plain, [&](std::int64_t slot, std::uint16_t* row) {
    copy.read(slot, row, plain.strides[2]);
  });
}

}  // namespace flashmla::backends::cpu
