// Writing rows of 16-bit elements to slots of a paged cache.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"
#include "sm90/ptx/grid_dependency.h"

namespace flashmla::sm90::append {

// Strides are in elements.
struct Params {
  std::uint16_t* cache;  // [num_pages, page_size, h_kv, d_qk]
  std::int64_t page_stride;
  std::int64_t token_stride;
  std::int64_t head_stride;
  std::int64_t page_size;
  std::int64_t capacity;      // num_pages · page_size
  const std::uint16_t* rows;  // [n, h_kv, d_qk]
  std::int64_t row_stride;
  std::int64_t row_head_stride;
  const void* slots;   // [n], int64 where wide_slots, else int32
  std::int64_t count;  // n · h_kv
  std::int32_t heads;
  std::int32_t columns;
  bool wide_slots;
  bool aligned;  // all rows begin at multiples of 16 bytes and have a multiple of 8 elements
};

inline constexpr int threads = 128;

// Each warp writes one row at a time.
__global__ void __launch_bounds__(threads) write_rows(const __grid_constant__ Params p) {
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  const int lane = threadIdx.x % 32;
  const std::int64_t warps = static_cast<std::int64_t>(gridDim.x) * (threads / 32);
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(threads / 32) + threadIdx.x / 32;
       i < p.count; i += warps) {
    const std::int64_t row = i / p.heads;
    const std::int64_t head = i % p.heads;
    const std::int64_t slot = p.wide_slots ? static_cast<const std::int64_t*>(p.slots)[row]
                                           : static_cast<const std::int32_t*>(p.slots)[row];
    if (slot < 0 || slot >= p.capacity)
      continue;
    const std::uint16_t* source = p.rows + row * p.row_stride + head * p.row_head_stride;
    std::uint16_t* target = p.cache + slot / p.page_size * p.page_stride +
                            slot % p.page_size * p.token_stride + head * p.head_stride;
    if (p.aligned) {
      for (int unit = lane; unit < p.columns / 8; unit += 32)
        reinterpret_cast<uint4*>(target)[unit] = reinterpret_cast<const uint4*>(source)[unit];
    } else {
      for (int column = lane; column < p.columns; column += 32)
        target[column] = source[column];
    }
  }
}

}  // namespace flashmla::sm90::append
