// Writing rows to a paged cache and reading them back. A warp moves one token at a time. `Token`
// says how: PlainToken, V32Token or V4Token.
#pragma once

#include <cstdint>

#include "sm90/kernels/cache/last_rows.h"
#include "sm90/kernels/cache/place.h"
#include "sm90/ptx/grid_dependency.h"

namespace flashmla::sm90::cache {

inline constexpr int threads = 256;
inline constexpr int blocks_of_multiprocessor = 5;

// append: a thread block looks for slots that are named twice, so there is one for each
// multiprocessor.
inline constexpr int append_threads = 1024;

FLASHMLA_DEVICE std::int64_t warp_of_grid() {
  return (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
}

FLASHMLA_DEVICE std::int64_t warps_of_grid() {
  return static_cast<std::int64_t>(gridDim.x) * blockDim.x / 32;
}

FLASHMLA_DEVICE std::byte* row_of(const Params& p, std::int64_t row) {
  return p.rows.data + row * p.rows.token_stride;
}

template <class Token>
__global__ void __launch_bounds__(append_threads, 1) append_rows(const __grid_constant__ Params p) {
  extern __shared__ std::uint32_t append_memory[];
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  for (std::int64_t first = blockIdx.x * p.rows_of_stretch; first < p.count;
       first += gridDim.x * p.rows_of_stretch) {
    const std::int64_t end = min(first + p.rows_of_stretch, p.count);
    const LastRows last(append_memory, p, first, end);
    for (std::int64_t row = first + threadIdx.x / 32; row < end; row += append_threads / 32) {
      const std::int64_t slot = slot_of(p, row);
      if (is_slot(p, slot) && last.holds(row))
        Token::write(p, row_of(p, row), token_of_slot(p, slot), threadIdx.x % 32);
    }
    __syncthreads();  // the memory is free for the next stretch
  }
}

template <class Token>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor)
    gather_rows(const __grid_constant__ Params p) {
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  const int lane = threadIdx.x % 32;
  std::int64_t row = warp_of_grid();
  std::int64_t next = row < p.count ? slot_of(p, row) : -1;
  while (row < p.count) {
    const std::int64_t slot = next;
    std::byte* const target = row_of(p, row);
    row += warps_of_grid();
    next = row < p.count ? slot_of(p, row) : -1;
    if (is_slot(p, slot))
      Token::read(p, token_of_slot(p, slot), target, lane);
    else
      Token::clear(p, target, lane);
  }
}

template <class Token>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor)
    quantise_cache(const __grid_constant__ Params p) {
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  for (TokenWalk walk(p, warp_of_grid()); walk.is_inside(); walk.advance())
    Token::write(p, walk.row(), walk.cached(), threadIdx.x % 32);
}

template <class Token>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor)
    dequantise_cache(const __grid_constant__ Params p) {
  ptx::launch_dependents();
  ptx::wait_for_prerequisites();
  for (TokenWalk walk(p, warp_of_grid()); walk.is_inside(); walk.advance())
    Token::read(p, walk.cached(), walk.row(), threadIdx.x % 32);
}

}  // namespace flashmla::sm90::cache
