// The follower: columns 256 … 511 of V, with the P of the leader.
#pragma once

#include "sm90/kernels/sparse_decode/halves/half_tile.h"
#include "sm90/pipeline/warp_arrival.h"

namespace flashmla::sm90::sparse_decode::halves {

template <class Format>
class Follower : HalfThread {
  using T = __nv_bfloat16;
  using Shared = SharedAddresses<Format>;
  using Storage = SharedStorage<Format>;
  static FLASHMLA_DEVICE Shared fixed() { return {tile::shared_start}; }

 public:
  FLASHMLA_DEVICE Follower(const Params& params, const Shared& addresses, Storage& memory)
      : p(params), shared(addresses), storage(memory) {}

  FLASHMLA_DEVICE void follow_all() {
    for (pipeline::UseCount n;; n.advance()) {
      out.clear();
      const attend::TileSegment record = take_segment<Storage>(shared, storage, n);
      if (record.is_end())
        return;
      while (!follow_block()) {
      }
      finish(record, n);
    }
  }

 private:
  // Returns whether the block is the last one of its segment.
  FLASHMLA_DEVICE bool follow_block() {
    shared.key_ring(right).wait(block);
    ptx::fence_async_proxy();
    const int slot = block.template slot_in<Storage::key_slots>();
    const BlockHeader header = storage.rings.headers[right][slot];
    if (header.tokens > 0) {
      shared.weight_ring().wait(read);
      multiply_weights(slot);
      shared.weight_ring().release();
      read.advance();
    }
    pipeline::arrive_as_warp([&] { shared.key_ring(right).release(block); });
    block.advance();
    return header.last;
  }

  // out += P V, with P from shared memory.
  FLASHMLA_DEVICE void multiply_weights(int slot) {
    const float factor[2] = {ptx::load_shared(shared.factor(row())),
                             ptx::load_shared(shared.factor(row() + tile::own_rows_apart))};
    if (ops::any_in_warp(factor[0] != 1.0f || factor[1] != 1.0f))
      out.rescale(factor);
    out.pin();
    ptx::wgmma_fence();
    const std::uint64_t values = values_of(fixed(), slot, right);
    const std::uint64_t weights = tile::k_major(fixed().weights());
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
      for (int quarter = 0; quarter < 2; ++quarter)
        ptx::wgmma_n128_st<T>(out.quarters[quarter].value, weights + k * tile::k_major_step,
                              values + quarter * quarter_step + k * tile::transposed_step, 1);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    out.pin();
  }

  FLASHMLA_DEVICE void finish(const attend::TileSegment& record, pipeline::UseCount n) {
    shared.totals_ring().wait(n);
    const int own = row() + tile::own_rows_apart * finished_row();
    const attend::RowTotals totals{ptx::load_shared(shared.totals(0, own)),
                                   ptx::load_shared(shared.totals(1, own)),
                                   ptx::load_shared(shared.totals(2, own))};
    attend::HalfResults<T, Params, Shared, HalfAccumulator> results(p, shared, out, right, record);
    if (record.partial >= 0)
      results.write_partial(totals, [&] { shared.totals_ring().release(); });
    else
      results.write_output(totals, [&] { shared.totals_ring().release(); });
  }

  const Params& p;
  Shared shared;
  Storage& storage;
  HalfAccumulator out;
  pipeline::UseCount block;
  pipeline::UseCount read;  // how often P has been read
};

}  // namespace flashmla::sm90::sparse_decode::halves
