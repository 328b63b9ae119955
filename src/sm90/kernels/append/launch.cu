#include "sm90/kernels/append/launch.h"

#include <algorithm>

#include "gpu/alignment.h"
#include "gpu/launch.h"
#include "sm90/kernels/append/append.h"

namespace flashmla::sm90::append {

void launch(const TensorView& cache, const TensorView& rows, const TensorView& slots,
            void* stream) {
  Params p{};
  p.cache = static_cast<std::uint16_t*>(cache.data);
  p.page_stride = cache.strides[0];
  p.token_stride = cache.strides[1];
  p.head_stride = cache.strides[2];
  p.page_size = cache.shape[1];
  p.capacity = cache.shape[0] * cache.shape[1];
  p.rows = static_cast<const std::uint16_t*>(rows.data);
  p.row_stride = rows.strides[0];
  p.row_head_stride = rows.strides[1];
  p.slots = slots.data;
  p.wide_slots = slots.dtype == DType::i64;
  p.heads = static_cast<std::int32_t>(rows.shape[1]);
  p.count = rows.shape[0] * rows.shape[1];
  p.columns = static_cast<std::int32_t>(rows.shape[2]);
  p.aligned = gpu::rows_aligned(cache) && gpu::rows_aligned(rows) && p.columns % 8 == 0;
  if (p.count == 0)
    return;
  constexpr std::int64_t rows_of_block = threads / 32;
  constexpr std::int64_t max_blocks = 4096;
  const std::int64_t blocks = std::min(max_blocks, (p.count + rows_of_block - 1) / rows_of_block);
  gpu::launch(write_rows, {static_cast<std::uint32_t>(blocks), threads}, stream, p);
}

}  // namespace flashmla::sm90::append
