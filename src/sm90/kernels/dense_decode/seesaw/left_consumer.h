// The left consumer: scores of even blocks, and columns 0 … 255 of V. Its order on the tensor
// cores:
//   QK of an even block | PV of it (P from registers) | PV of the odd block (P of the right
//   consumer) with the first half of the next QK behind it | the second half.
#pragma once

#include "sm90/kernels/dense_decode/seesaw/consumer.h"

namespace flashmla::sm90::dense_decode::seesaw {

template <class T, int Chunks, int ClusterSize>
FLASHMLA_DEVICE void consume_left(const Params& p, const SharedAddresses<Chunks>& shared,
                                  SegmentQueue& segments) {
  Consumer<T, Chunks, ClusterSize, left> c(p, shared);
  for (pipeline::UseCount n;; n.advance()) {
    c.clear();
    const TileSegment& record = segments.wait(n);
    if (record.is_end())
      break;
    shared.query_ring().wait(n);
    c.begin_segment(record);
    int blocks = record.blocks;  // blocks that remain
    int first_token = record.first_block * block_tokens;
    if (blocks > 0) {
      c.template multiply_first_half<0>();
      c.template multiply_second_half<v_half_chunks>();
      if (blocks > 1)
        ptx::barrier_arrive(left_scores_issued, consumer_threads);
      ptx::wgmma_wait<0>();
      c.scores.pin();
    }
#pragma unroll 1
    for (; blocks > 0; blocks -= 2, first_token += 2 * block_tokens) {
      c.softmax(record, first_token);
      c.write_weights();
      c.show_weights();
      c.multiply_own_weights();
      if constexpr (Chunks > rope_chunk)
        c.release(0, rope_part);
      ptx::wgmma_wait<0>();
      c.out.pin();
      c.release(0, left_part);
      ops::sum_rounded<T>(c.weights, c.rows);
      if (blocks == 1)
        break;

      c.await_other_weights();
      c.multiply_other_weights();
      if (blocks == 2) {
        ptx::wgmma_wait<0>();
        c.out.pin();
        c.release(1, left_part);
        break;
      }
      c.template multiply_first_half<0>();
      ptx::wgmma_commit();
      ptx::wgmma_wait<1>();
      c.release(1, left_part);
      c.template multiply_second_half<v_half_chunks>();
      if (blocks > 3)
        ptx::barrier_arrive(left_scores_issued, consumer_threads);
      ptx::wgmma_wait<0>();
      c.scores.pin();
      c.out.pin();
    }
    c.finish_segment(record, n);
  }
}

}  // namespace flashmla::sm90::dense_decode::seesaw
