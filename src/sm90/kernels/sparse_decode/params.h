// The parameters of a launch of a sparse decoding kernel.
#pragma once

#include <cstdint>

#include "sm90/attend/call.h"
#include "sm90/ops/fast_divisor.h"

namespace flashmla::sm90::sparse_decode {

using attend::block_tokens;
using attend::v_dim;

// The index lists of all query tokens, and the cache whose slots they name.
struct IndexLists {
  const std::int32_t* slots;    // [b, s_q, entries]
  std::int64_t request_stride;  // elements
  std::int64_t token_stride;    // elements
  std::int32_t entries;         // topk
  const std::int32_t* lengths;  // [b], how many entries count; null: all

  const std::uint8_t* cache;  // [num_pages, page_size, 1, token bytes]
  std::int64_t page_bytes;    // bytes between pages
  std::int64_t row_bytes;     // bytes between the rows of tokens in a page
  std::int32_t page_size;
  std::uint32_t capacity;  // slots
  ops::FastDivisor by_page_size;

  // How many entries of the lists of a request count.
  FLASHMLA_DEVICE std::int32_t counted(std::int32_t request) const {
    return lengths == nullptr ? entries
                              : schedule::smaller(schedule::larger(lengths[request], 0), entries);
  }
  FLASHMLA_DEVICE bool holds(std::int32_t slot) const {
    return static_cast<std::uint32_t>(slot) < capacity;
  }
};

struct Params {
  attend::Schedule schedule;  // a request is a query token, and its tokens are entries of its lists
  const std::uint16_t* q;     // [b, s_q, h_q, d_qk]
  attend::Strides q_strides;
  // The main list and the extra one. An extra list that is not given has no entries.
  IndexLists lists[2];

  attend::TokenOutput output;
  attend::Partials partials;
  attend::Rows rows;   // the heads of a query token
  std::int32_t tiles;  // row tiles
  attend::Scores scores;

  bool q_aligned;   // rows of q begin at multiples of 16 bytes
  bool kv_aligned;  // the same of the caches; always true in FP8 caches
};

}  // namespace flashmla::sm90::sparse_decode
