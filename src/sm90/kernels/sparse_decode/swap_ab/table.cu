#include "sm90/kernels/sparse_decode/table.h"

#include "sm90/kernels/sparse_decode/swap_ab/kernel.h"

namespace flashmla::sm90::sparse_decode::swap_ab {

namespace {

template <class Format, int Rows>
constexpr Kernel instance(KvFormat kv_format) {
  static_assert(sizeof(typename Room<Format, Rows>::Storage) <= tile::max_shared_bytes);
  return {.name = "swap_ab",
          .kv_format = kv_format,
          .qk_dim = Format::chunks * 64,
          .tile_rows = Rows,
          .function = decode<Format, Rows>,
          .threads = Roles<Rows>::threads,
          .shared_bytes = sizeof(typename Room<Format, Rows>::Storage)};
}

constexpr Kernel table[] = {
    instance<V32Rows, 16>(KvFormat::v32),       instance<V32Rows, 32>(KvFormat::v32),
    instance<V4Rows, 16>(KvFormat::v4),         instance<V4Rows, 32>(KvFormat::v4),
    instance<PlainRows<9>, 16>(KvFormat::bf16), instance<PlainRows<9>, 32>(KvFormat::bf16),
    instance<PlainRows<8>, 16>(KvFormat::bf16), instance<PlainRows<8>, 32>(KvFormat::bf16),
};

}  // namespace

std::span<const Kernel> kernels() {
  return table;
}

}  // namespace flashmla::sm90::sparse_decode::swap_ab
