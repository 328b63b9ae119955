// The right consumer: scores of odd blocks, and columns 256 … 511 of V. Its order on the tensor
// cores:
//   QK of an odd block, behind that of the left consumer | PV of the even block before it (P of the
//   left consumer; the own softmax hides behind it) | PV of the odd block (P from registers).
#pragma once

#include "sm90/kernels/dense_decode/seesaw/consumer.h"

namespace flashmla::sm90::dense_decode::seesaw {

template <class T, int Chunks, int ClusterSize>
FLASHMLA_DEVICE void consume_right(const Params& p, const SharedAddresses<Chunks>& shared,
                                   SegmentQueue& segments) {
  Consumer<T, Chunks, ClusterSize, right> c(p, shared);
  for (pipeline::UseCount n;; n.advance()) {
    c.clear();
    const TileSegment& record = segments.wait(n);
    if (record.is_end())
      break;
    shared.query_ring().wait(n);
    c.begin_segment(record);
    int blocks = record.blocks;  // blocks that remain
    int first_token = record.first_block * block_tokens;
#pragma unroll 1
    for (; blocks > 1; blocks -= 2, first_token += 2 * block_tokens) {
      // NOTE: the right half of V comes first, because the left consumer still reads the left half
      // of this buffer.
      ptx::barrier_sync(left_scores_issued, consumer_threads);
      c.template multiply_first_half<v_half_chunks>();
      c.template multiply_second_half<0>();
      c.await_other_weights();
      ptx::wgmma_wait<0>();
      c.scores.pin();
      c.multiply_other_weights();
      c.softmax(record, first_token + block_tokens);
      c.write_weights();
      ptx::wgmma_wait<0>();
      c.out.pin();
      c.release(0, right_part);
      if constexpr (Chunks > rope_chunk)
        c.release(1, rope_part);
      c.multiply_own_weights();
      c.show_weights();
      ptx::wgmma_wait<0>();
      c.out.pin();
      c.release(1, right_part);
      ops::sum_rounded<T>(c.weights, c.rows);
    }
    if (blocks == 1) {
      c.await_other_weights();
      c.multiply_other_weights();
      ptx::wgmma_wait<0>();
      c.out.pin();
      c.release(0, right_part);
    }
    c.finish_segment(record, n);
  }
}

}  // namespace flashmla::sm90::dense_decode::seesaw
