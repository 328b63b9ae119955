#include "sm90/kernels/dense_decode/few_rows/launch.h"

#include "sm90/kernels/dense_decode/few_rows/kernel.h"

namespace flashmla::sm90::dense_decode::few_rows {

namespace {

template <class T, int Chunks, int Rows, int ClusterSize>
Kernel instance(const char* name) {
  return {.name = name,
          .function = decode<T, Chunks, Rows, ClusterSize>,
          .tile_rows = Rows,
          .cluster = ClusterSize,
          .qk_chunks = Chunks,
          .box_rows = block_tokens,
          .box_chunks = Ring<Chunks>::slot_chunks,
          .boxes_rope = false,
          .fills_multiprocessor = false,
          .threads = threads,
          .shared_bytes = sizeof(SharedStorage<Chunks, Rows>)};
}

template <class T, int Chunks>
Kernel of_rows(std::int64_t tile_rows, bool pair) {
  if (pair)
    return tile_rows <= 16 ? instance<T, Chunks, 16, 2>("few_rows_16_pair")
                           : instance<T, Chunks, 32, 2>("few_rows_32_pair");
  return tile_rows <= 16 ? instance<T, Chunks, 16, 1>("few_rows_16")
                         : instance<T, Chunks, 32, 1>("few_rows_32");
}

}  // namespace

Kernel kernel_of(DType type, std::int64_t qk_dim, std::int64_t tile_rows, bool pair) {
  if (type == DType::fp16)
    return qk_dim == 512 ? of_rows<__half, 8>(tile_rows, pair)
                         : of_rows<__half, 9>(tile_rows, pair);
  return qk_dim == 512 ? of_rows<__nv_bfloat16, 8>(tile_rows, pair)
                       : of_rows<__nv_bfloat16, 9>(tile_rows, pair);
}

}  // namespace flashmla::sm90::dense_decode::few_rows
