#include "sm90/kernels/dense_decode/many_rows/launch.h"

#include "sm90/kernels/dense_decode/many_rows/kernel.h"

namespace flashmla::sm90::dense_decode::many_rows {

namespace {

template <class T, int Chunks, int ClusterSize>
Kernel instance(const char* name) {
  return {.name = name,
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
Kernel of_cluster(int tiles) {
  if (tiles == 4)
    return instance<T, Chunks, 4>("many_rows_four");
  return tiles == 2 ? instance<T, Chunks, 2>("many_rows_pair")
                    : instance<T, Chunks, 1>("many_rows");
}

Kernel instance_of(DType type, std::int64_t qk_dim, int cluster) {
  if (type == DType::fp16)
    return qk_dim == 512 ? of_cluster<__half, 8>(cluster) : of_cluster<__half, 9>(cluster);
  return qk_dim == 512 ? of_cluster<__nv_bfloat16, 8>(cluster)
                       : of_cluster<__nv_bfloat16, 9>(cluster);
}

}  // namespace

Kernel kernel_of(DType type, std::int64_t qk_dim, bool pair) {
  return instance_of(type, qk_dim, pair ? 2 : 1);
}

Kernel four_of(DType type, std::int64_t qk_dim) {
  return instance_of(type, qk_dim, 4);
}

}  // namespace flashmla::sm90::dense_decode::many_rows
