// What a launch of a dense decoding kernel is given. Strides are in elements of 16 bits.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "schedule/split_kv.h"
#include "schedule/walk.h"
#include "sm90/kernels/dense_decode/partial_form.h"
#include "sm90/ops/fast_divisor.h"

namespace flashmla::sm90::dense_decode {

inline constexpr int block_tokens = 64;
inline constexpr int v_dim = 512;

// L2 policies of the copy engine: of data that is read once, that others read at about the same
// time, and that others will read again.
enum class L2Policy : std::uint64_t {
  evict_first = 0x12F0000000000000,
  evict_normal = 0x1000000000000000,
  evict_last = 0x14F0000000000000,
};

struct Strides {
  std::int64_t outer;   // request or page
  std::int64_t middle;  // query token or token in page
  std::int64_t head;
};

// Tensor maps; those that a launch does not need are empty.
struct Maps {
  CUtensorMap keys;
  CUtensorMap rope_keys;  // of the last chunk alone, for kernels that load it apart
  CUtensorMap queries;
};

struct Params {
  schedule::SplitParams split;
  const schedule::WorkTile* work;  // [workers]
  // A call may be two launches that run at the same time: the second one, whose workers begin at
  // first_worker, is `beside` the first.
  std::int32_t first_worker;
  bool beside;
  const std::int32_t* split_offset;          // [b + 1]
  const schedule::SplitRequest* split_list;  // [workers + 1]
  const std::int32_t* lengths;               // [b]
  std::int32_t planned_tokens;               // of a request, at most, by its plan
  std::int32_t partials;                     // that partial_out has room for
  std::int32_t* status;  // 0, or 1 + the first request with a page outside the cache

  const std::uint16_t* q;      // [b, s_q, h_q, d_qk]
  const std::uint16_t* cache;  // [num_pages, page_size, h_kv, d_qk]
  Strides q_strides;
  Strides cache_strides;
  const std::int32_t* block_table;  // [b, table_width]
  std::int64_t table_stride;
  std::int32_t table_width;
  std::int32_t num_pages;
  std::int32_t page_size;
  std::int32_t max_tokens;  // table_width · page_size: no request is read further than that

  std::uint16_t* out;  // [b, s_q, h_q, 512]
  Strides out_strides;
  std::int64_t out_row_distance;  // between rows of a KV head; 0: not equal, or not aligned
  float* lse;                     // [b, h_q, s_q]
  float lse_scale;                // what an lse is of one to base 2
  float empty_lse;                // the lse of a row without tokens
  const float* sink;              // [h_q] or null
  void* partial_out;              // PartialNumber<T> [partials, kv_heads · rows, 512]
  PartialRow* partial_rows;       // [partials, kv_heads · rows, row_entries<T>]

  // Rows of a KV head: row = query token · group + head in group.
  std::int32_t query_tokens;  // s_q
  std::int32_t query_heads;   // h_q
  std::int32_t kv_heads;      // h_kv
  std::int32_t group;         // h_q / h_kv
  std::int32_t rows;          // s_q · group
  std::int32_t tiles;         // row tiles of a KV head

  ops::FastDivisor by_rows;
  ops::FastDivisor by_group;
  ops::FastDivisor by_tiles;
  ops::FastDivisor by_page_size;

  std::int32_t combine_groups;  // of combine_rows rows, of a request
  ops::FastDivisor by_combine_groups;

  L2Policy key_policy = L2Policy::evict_first;
  float scale;   // |softmax_scale| · log2 e, above 0: scores are in the base-2 logarithm domain
  bool negated;  // softmax_scale < 0
  bool causal;
  std::int32_t q_box_rows;  // rows of a box of queries; 0: they are loaded row by row
  bool gathered;            // cache rows are loaded one by one, not by a tensor map
  bool prefetches_keys;     // blocks are brought into the L2 cache before there is room for them
  bool q_aligned;           // rows of q begin at multiples of 16 bytes
  bool kv_aligned;          // the same of the cache
  bool out_aligned;
};

}  // namespace flashmla::sm90::dense_decode
