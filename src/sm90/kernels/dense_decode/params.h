// The parameters of a launch of a dense decoding kernel. Strides are in elements of 16 bits.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "sm90/attend/call.h"
#include "sm90/ops/fast_divisor.h"
#include "sm90/ptx/l2_policy.h"

namespace flashmla::sm90::dense_decode {

using attend::block_tokens;
using attend::v_dim;

// Tensor maps; those that a launch does not need are empty.
struct Maps {
  CUtensorMap keys;
  CUtensorMap rope_keys;  // of the last chunk, for kernels that load it separately
  CUtensorMap queries;
};

struct Params {
  attend::Schedule schedule;
  // A call may be two launches that run at the same time: the second one, whose workers begin at
  // first_worker, is `beside` the first.
  std::int32_t first_worker;
  bool beside;

  const std::uint16_t* q;      // [b, s_q, h_q, d_qk]
  const std::uint16_t* cache;  // [num_pages, page_size, h_kv, d_qk]
  attend::Strides q_strides;
  attend::Strides cache_strides;
  const std::int32_t* block_table;  // [b, table_width]
  std::int64_t table_stride;
  std::int32_t table_width;
  std::int32_t num_pages;
  std::int32_t page_size;
  std::int32_t max_tokens;  // table_width · page_size; no token behind this is read

  attend::Output output;
  attend::Partials partials;
  attend::Rows rows;
  std::int32_t tiles;  // row tiles of a KV head
  ops::FastDivisor by_tiles;
  ops::FastDivisor by_page_size;
  attend::Scores scores;

  ptx::L2Policy key_policy = ptx::L2Policy::evict_first;
  std::int32_t q_box_rows;  // rows of a box of queries; 0: they are loaded row by row
  bool gathered;            // cache rows are loaded one by one, not by a tensor map
  bool prefetches_keys;     // blocks are brought into the L2 cache before there is room for them
  bool q_aligned;           // rows of q begin at multiples of 16 bytes
  bool kv_aligned;          // the same of the cache
};

}  // namespace flashmla::sm90::dense_decode
