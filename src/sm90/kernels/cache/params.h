// What the kernels of the cache are told.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flashmla::sm90::cache {

// Where the tokens of a tensor lie. Strides are in bytes, and 0 where there is a single page, token
// or head.
struct Tokens {
  std::byte* data;
  std::int64_t page_stride;
  std::int64_t token_stride;
  std::int64_t head_stride;
};

struct Params {
  Tokens cache;
  std::int64_t scales_offset;  // of an FP8 format: from a page's start to the scales of its token 0
  std::int64_t scales_stride;  // from the scales of a token to those of the next one
  // append and gather: rows [n, h_kv, d_qk], as one page of n tokens. quantise and dequantise:
  // [num_pages, page_size, h_kv, d_qk].
  Tokens rows;
  std::int64_t num_pages;
  std::int64_t page_size;
  const void* slots;           // append and gather: [n], int64 where wide_slots, else int32
  std::int64_t count;          // rows or tokens to move
  std::int64_t rows_of_batch;  // append: rows that a thread block looks at together
  // quantise and dequantise: the tokens from a token of a warp to its next one, as whole pages and
  // the tokens beside them.
  std::int64_t step_pages;
  std::int64_t step_tokens;
  std::int32_t heads;
  std::int32_t columns;
  bool wide_slots;
};

}  // namespace flashmla::sm90::cache
