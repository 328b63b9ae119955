// A dense decoding kernel as the host sees it.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "flashmla/dtype.h"
#include "sm90/kernels/dense_decode/params.h"

namespace flashmla::sm90::dense_decode {

struct Kernel {
  const char* name;
  void (*function)(Maps, Params);
  std::int32_t tile_rows;
  std::int32_t cluster;       // tiles that share every block of keys
  std::int32_t qk_chunks;     // chunks of a row of q and of the cache
  std::int32_t box_rows;      // rows of a box of Maps::keys where a page holds whole blocks
  std::int32_t box_chunks;    // chunks of a box of Maps::keys where a page holds whole blocks
  bool boxes_rope;            // uses Maps::rope_keys
  bool fills_multiprocessor;  // no block of another kernel fits beside one
  std::uint32_t threads;
  std::uint32_t shared_bytes;  // dynamic
};

// Whether boxes of a tensor map can load pages of this size: a block is made of whole pages or a
// page of whole blocks, and a page's part of a block of whole groups of 8 rows, the unit of the
// swizzle.
constexpr bool fits_boxes(std::int64_t page_size) {
  constexpr std::int64_t min_page = 8;
  return page_size % block_tokens == 0 || (block_tokens % page_size == 0 && page_size >= min_page);
}

}  // namespace flashmla::sm90::dense_decode
