// The table of sparse decoding kernels, in which the host finds the kernel of a call.
#pragma once

#include <cstdint>
#include <span>

#include "flashmla/kv_format.h"
#include "sm90/kernels/sparse_decode/params.h"

namespace flashmla::sm90::sparse_decode {

struct Kernel {
  const char* name;     // codes, swap_ab or halves
  KvFormat kv_format;   // of the caches; queries and results are bf16
  std::int64_t qk_dim;  // d_qk
  std::int32_t tile_rows;
  void (*function)(Params);
  std::uint32_t threads;
  std::uint32_t shared_bytes;  // dynamic
};

namespace codes {
std::span<const Kernel> kernels();  // FP8 caches, tiles of 16 rows
}
namespace swap_ab {
std::span<const Kernel> kernels();  // tiles of 16 and of 32 rows
}
namespace halves {
std::span<const Kernel> kernels();  // tiles of 64 rows
}

// The kernel for a cache format, d_qk and tiles; null where there is none. `long_call`: workers
// have so many blocks that `codes` is faster than `swap_ab`, where there are both.
inline const Kernel* find_kernel(KvFormat kv_format, std::int64_t qk_dim, std::int64_t tile_rows,
                                 bool long_call) {
  const std::span<const Kernel> tables[] = {
      long_call ? codes::kernels() : std::span<const Kernel>(), swap_ab::kernels(),
      halves::kernels()};
  for (const std::span<const Kernel> table : tables)
    for (const Kernel& kernel : table)
      if (kernel.kv_format == kv_format && kernel.qk_dim == qk_dim && kernel.tile_rows == tile_rows)
        return &kernel;
  return nullptr;
}

}  // namespace flashmla::sm90::sparse_decode
