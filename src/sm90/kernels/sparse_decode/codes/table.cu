#include "sm90/kernels/sparse_decode/table.h"

#include "sm90/kernels/sparse_decode/codes/kernel.h"

namespace flashmla::sm90::sparse_decode::codes {

namespace {

template <class Format>
constexpr Kernel instance(KvFormat kv_format) {
  static_assert(sizeof(SharedStorage<Format>) <= tile::max_shared_bytes);
  return {.name = "codes",
          .kv_format = kv_format,
          .qk_dim = Format::chunks * 64,
          .tile_rows = tile_rows,
          .function = decode<Format>,
          .threads = threads,
          .shared_bytes = sizeof(SharedStorage<Format>)};
}

constexpr Kernel table[] = {
    instance<V32Rows>(KvFormat::v32),
    instance<V4Rows>(KvFormat::v4),
};

}  // namespace

std::span<const Kernel> kernels() {
  return table;
}

}  // namespace flashmla::sm90::sparse_decode::codes
