#include "sm90/kernels/dense_decode/table.h"

#include "sm90/kernels/dense_decode/seesaw/kernel.h"

namespace flashmla::sm90::dense_decode::seesaw {

namespace {

template <class T, int Chunks, int ClusterSize>
constexpr Kernel instance(KvFormat kv_format) {
  return {.name = "seesaw",
          .kv_format = kv_format,
          .qk_dim = Chunks * 64,
          .tile_rows = tile_rows,
          .cluster = ClusterSize,
          .function = decode<T, Chunks, ClusterSize>,
          .box_rows = block_tokens / ClusterSize,
          .box_chunks = value_box_chunks<ClusterSize>,
          .boxes_rope = Chunks > rope_chunk,
          .fills_multiprocessor = true,
          .threads = threads,
          .shared_bytes = sizeof(SharedStorage<Chunks>)};
}

using Bf16 = __nv_bfloat16;
using Fp16 = __half;

constexpr Kernel table[] = {
    instance<Bf16, 9, 1>(KvFormat::bf16), instance<Bf16, 9, 2>(KvFormat::bf16),
    instance<Bf16, 9, 4>(KvFormat::bf16), instance<Bf16, 8, 1>(KvFormat::bf16),
    instance<Bf16, 8, 2>(KvFormat::bf16), instance<Bf16, 8, 4>(KvFormat::bf16),
    instance<Fp16, 9, 1>(KvFormat::fp16), instance<Fp16, 9, 2>(KvFormat::fp16),
    instance<Fp16, 9, 4>(KvFormat::fp16), instance<Fp16, 8, 1>(KvFormat::fp16),
    instance<Fp16, 8, 2>(KvFormat::fp16), instance<Fp16, 8, 4>(KvFormat::fp16),
};

}  // namespace

std::span<const Kernel> kernels() {
  return table;
}

}  // namespace flashmla::sm90::dense_decode::seesaw
