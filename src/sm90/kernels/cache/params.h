// What the kernels of the cache are told.
#pragma once

#include <bit>
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

// A hash table of slots in shared memory, for the rows of a stretch: how large it is.
struct SlotTable {
  static constexpr std::int64_t max_rows = 8192;
  static constexpr std::uint32_t max_buckets = 2 * max_rows;

  std::uint32_t buckets;  // a power of two
  std::uint32_t shift;    // the bucket of a hash is hash >> shift

  // Four buckets for each row, or two where that is too much memory.
  static constexpr SlotTable of(std::int64_t rows) {
    const auto wanted = std::bit_ceil(static_cast<std::uint32_t>(4 * rows));
    const std::uint32_t buckets = wanted < max_buckets ? wanted : max_buckets;
    return {buckets, static_cast<std::uint32_t>(32 - std::countr_zero(buckets))};
  }

  // Words of shared memory: a bitmap, the table, and a bit for each row.
  constexpr std::uint32_t words(std::int64_t rows) const {
    return 2 * buckets + static_cast<std::uint32_t>((rows + 31) / 32);
  }
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
  const void* slots;             // append and gather: [n], int64 where wide_slots, else int32
  std::int64_t count;            // rows or tokens to move
  std::int64_t rows_of_stretch;  // append: consecutive rows that a thread block looks at together
  SlotTable slot_table;          // append
  // quantise and dequantise: the tokens from a token of a warp to its next one, as whole pages and
  // the tokens beside them.
  std::int64_t step_pages;
  std::int64_t step_tokens;
  std::int32_t heads;
  std::int32_t columns;
  bool wide_slots;
};

}  // namespace flashmla::sm90::cache
