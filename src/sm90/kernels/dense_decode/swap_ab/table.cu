#include "sm90/kernels/dense_decode/table.h"

#include "sm90/kernels/dense_decode/swap_ab/kernel.h"

namespace flashmla::sm90::dense_decode::swap_ab {

namespace {

template <class T, int Chunks, int Rows, int ClusterSize>
constexpr Kernel instance(KvFormat kv_format) {
  return {.name = "swap_ab",
          .kv_format = kv_format,
          .qk_dim = Chunks * 64,
          .tile_rows = Rows,
          .cluster = ClusterSize,
          .function = decode<T, Chunks, Rows, ClusterSize>,
          .box_rows = block_tokens,
          .box_chunks = Slot<Chunks>::chunks,
          .boxes_rope = false,
          .fills_multiprocessor = false,
          .threads = threads,
          .shared_bytes = sizeof(SharedStorage<Chunks, Rows>)};
}

using Bf16 = __nv_bfloat16;
using Fp16 = __half;

constexpr Kernel table[] = {
    instance<Bf16, 9, 16, 1>(KvFormat::bf16), instance<Bf16, 9, 16, 2>(KvFormat::bf16),
    instance<Bf16, 9, 32, 1>(KvFormat::bf16), instance<Bf16, 9, 32, 2>(KvFormat::bf16),
    instance<Bf16, 8, 16, 1>(KvFormat::bf16), instance<Bf16, 8, 16, 2>(KvFormat::bf16),
    instance<Bf16, 8, 32, 1>(KvFormat::bf16), instance<Bf16, 8, 32, 2>(KvFormat::bf16),
    instance<Fp16, 9, 16, 1>(KvFormat::fp16), instance<Fp16, 9, 16, 2>(KvFormat::fp16),
    instance<Fp16, 9, 32, 1>(KvFormat::fp16), instance<Fp16, 9, 32, 2>(KvFormat::fp16),
    instance<Fp16, 8, 16, 1>(KvFormat::fp16), instance<Fp16, 8, 16, 2>(KvFormat::fp16),
    instance<Fp16, 8, 32, 1>(KvFormat::fp16), instance<Fp16, 8, 32, 2>(KvFormat::fp16),
};

}  // namespace

std::span<const Kernel> kernels() {
  return table;
}

}  // namespace flashmla::sm90::dense_decode::swap_ab
