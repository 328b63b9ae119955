// Half of the columns of V of a tile of 64 rows, in the registers of a warpgroup.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "sm90/attend/uniform_descriptor.h"
#include "sm90/kernels/sparse_decode/halves/shared_storage.h"
#include "sm90/ops/accumulator.h"
#include "sm90/pipeline/position.h"
#include "sm90/ptx/warpgroup.h"
#include "sm90/ptx/wgmma.h"
#include "sm90/tile/gmma_descriptor.h"

namespace flashmla::sm90::sparse_decode::halves {

using attend::HalfThread;
using attend::left;
using attend::right;
using attend::Side;

// An accumulator of 64 rows × 256 columns, as two of 128 columns.
struct HalfAccumulator {
  using Quarter = ops::Accumulator<128>;
  static constexpr int own_columns = 2 * Quarter::own_columns;

  Quarter quarters[2];

  FLASHMLA_DEVICE float at(int r, int i) const {
    return quarters[i / Quarter::own_columns].at(r, i % Quarter::own_columns);
  }
  FLASHMLA_DEVICE void clear() {
    quarters[0].clear();
    quarters[1].clear();
    pin();
  }
  FLASHMLA_DEVICE void pin() {
    quarters[0].pin();
    quarters[1].pin();
  }
  FLASHMLA_DEVICE void rescale(const float (&factor)[2]) {
    quarters[0].rescale(factor);
    quarters[1].rescale(factor);
  }
  template <class T>
  FLASHMLA_DEVICE void pack(int k, std::uint32_t (&operand)[4]) const {
    quarters[k / 8].template pack<T>(k % 8, operand);
  }
};

// The descriptor of V in a slot of the ring of keys: chunks `side` · 4 and on, transposed.
template <class Shared>
FLASHMLA_DEVICE std::uint64_t values_of(const Shared& fixed, int slot, Side side) {
  return attend::uniform_descriptor(
      tile::transposed(fixed.keys(slot) + side * attend::half_chunks * chunk_bytes, chunk_bytes));
}
inline constexpr std::uint64_t quarter_step = 2 * chunk_bytes >> 4;  // in a descriptor of V

}  // namespace flashmla::sm90::sparse_decode::halves
