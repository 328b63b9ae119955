// The table of dense decoding kernels, in which the host finds the kernel of a call.
#pragma once

#include <cstdint>
#include <span>

#include "flashmla/kv_format.h"
#include "schedule/tile_choice.h"
#include "sm90/kernels/dense_decode/params.h"

namespace flashmla::sm90::dense_decode {

struct Kernel {
  const char* name;     // swap_ab or seesaw
  KvFormat kv_format;   // of the cache; queries and results have the same type
  std::int64_t qk_dim;  // d_qk
  std::int32_t tile_rows;
  std::int32_t cluster;  // cluster size: tiles that share every block of keys
  void (*function)(Maps, Params);
  std::int32_t box_rows;      // rows of a box of Maps::keys where a page holds whole blocks
  std::int32_t box_chunks;    // chunks of a box of Maps::keys where a page holds whole blocks
  bool boxes_rope;            // uses Maps::rope_keys
  bool fills_multiprocessor;  // no thread block of another kernel fits beside one of this kernel
  std::uint32_t threads;
  std::uint32_t shared_bytes;  // dynamic

  // Chunks of 64 columns of a row of q and of the cache.
  constexpr std::int32_t qk_chunks() const { return static_cast<std::int32_t>(qk_dim / 64); }
};

// One table for each kernel.
namespace swap_ab {
std::span<const Kernel> kernels();  // tiles of 16 and of 32 rows, in clusters of one and of two
}
namespace seesaw {
// Tiles of 64 rows in clusters of one, two and four.
// NOTE: clusters of four need pages of whole blocks, and they do not fit on all multiprocessors.
std::span<const Kernel> kernels();
}  // namespace seesaw

// The kernel for a cache format, d_qk and tiles; null where there is none.
inline const Kernel* find_kernel(KvFormat kv_format, std::int64_t qk_dim,
                                 const schedule::Tile& tile) {
  for (const std::span<const Kernel> table : {swap_ab::kernels(), seesaw::kernels()})
    for (const Kernel& kernel : table)
      if (kernel.kv_format == kv_format && kernel.qk_dim == qk_dim &&
          kernel.tile_rows == tile.rows && kernel.cluster == tile.cluster)
        return &kernel;
  return nullptr;
}

// Whether boxes of a tensor map can load pages of this size. Either a block consists of whole pages
// or a page of whole blocks, and the rows of a page in a block are a multiple of 8, the unit of the
// swizzle.
constexpr bool fits_boxes(std::int64_t page_size) {
  constexpr std::int64_t min_page = 8;
  return page_size % block_tokens == 0 || (block_tokens % page_size == 0 && page_size >= min_page);
}

}  // namespace flashmla::sm90::dense_decode
