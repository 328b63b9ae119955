#include "sm90/kernels/dense_decode/swap_ab/launch.h"

#include "sm90/kernels/dense_decode/swap_ab/kernel.h"

namespace flashmla::sm90::dense_decode::swap_ab {

namespace {

template <class T, int Chunks, int Rows, int ClusterSize>
Kernel instance() {
  return {.name = "swap_ab",
          .function = decode<T, Chunks, Rows, ClusterSize>,
          .tile_rows = Rows,
          .cluster = ClusterSize,
          .qk_chunks = Chunks,
          .box_rows = block_tokens,
          .box_chunks = Slot<Chunks>::chunks,
          .boxes_rope = false,
          .fills_multiprocessor = false,
          .threads = threads,
          .shared_bytes = sizeof(SharedStorage<Chunks, Rows>)};
}

template <class T, int Chunks>
Kernel of_tile(const schedule::Tile& tile) {
  if (tile.cluster == 2)
    return tile.rows <= 16 ? instance<T, Chunks, 16, 2>() : instance<T, Chunks, 32, 2>();
  return tile.rows <= 16 ? instance<T, Chunks, 16, 1>() : instance<T, Chunks, 32, 1>();
}

}  // namespace

Kernel kernel_of(DType type, std::int64_t qk_dim, const schedule::Tile& tile) {
  if (type == DType::fp16)
    return qk_dim == 512 ? of_tile<__half, 8>(tile) : of_tile<__half, 9>(tile);
  return qk_dim == 512 ? of_tile<__nv_bfloat16, 8>(tile) : of_tile<__nv_bfloat16, 9>(tile);
}

}  // namespace flashmla::sm90::dense_decode::swap_ab
