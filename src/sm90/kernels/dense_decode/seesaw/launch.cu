#include "sm90/kernels/dense_decode/seesaw/launch.h"

#include "sm90/kernels/dense_decode/seesaw/kernel.h"

namespace flashmla::sm90::dense_decode::seesaw {

namespace {

template <class T, int Chunks, int ClusterSize>
Kernel instance() {
  return {.name = "seesaw",
          .function = decode<T, Chunks, ClusterSize>,
          .tile_rows = tile_rows,
          .cluster = ClusterSize,
          .qk_chunks = Chunks,
          .box_rows = block_tokens / ClusterSize,
          .box_chunks = value_box_chunks<ClusterSize>,
          .boxes_rope = Chunks > rope_chunk,
          .fills_multiprocessor = true,
          .threads = threads,
          .shared_bytes = sizeof(SharedStorage<Chunks>)};
}

template <class T, int Chunks>
Kernel of_cluster(std::int64_t tiles) {
  if (tiles == 4)
    return instance<T, Chunks, 4>();
  return tiles == 2 ? instance<T, Chunks, 2>() : instance<T, Chunks, 1>();
}

}  // namespace

Kernel kernel_of(DType type, std::int64_t qk_dim, std::int64_t cluster) {
  if (type == DType::fp16)
    return qk_dim == 512 ? of_cluster<__half, 8>(cluster) : of_cluster<__half, 9>(cluster);
  return qk_dim == 512 ? of_cluster<__nv_bfloat16, 8>(cluster)
                       : of_cluster<__nv_bfloat16, 9>(cluster);
}

}  // namespace flashmla::sm90::dense_decode::seesaw
