#include "sm90/kernels/dense_decode/table.h"

namespace flashmla::sm90::dense_decode {

const Kernel* find_kernel(KvFormat kv_format, std::int64_t qk_dim, const schedule::Tile& tile) {
  for (const std::span<const Kernel> table : {swap_ab::kernels(), seesaw::kernels()})
    for (const Kernel& kernel : table)
      if (kernel.kv_format == kv_format && kernel.qk_dim == qk_dim &&
          kernel.tile_rows == tile.rows && kernel.cluster == tile.cluster)
        return &kernel;
  return nullptr;
}

}  // namespace flashmla::sm90::dense_decode
