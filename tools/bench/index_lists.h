// Index lists of sparse attention as a decoding step has them: every query token lists distinct
// slots of its own request, whose pages lie all over the cache.
#pragma once

#include <cstdint>
#include <vector>

namespace flashmla::tools {

struct ListShape {
  std::int64_t batch;
  std::int64_t query_tokens;
  std::int64_t topk;              // entries of a list
  std::int64_t valid;             // entries that name a slot; the others are −1
  bool scattered;                 // the valid ones stand anywhere in the list, not first
  std::int64_t pages_of_request;  // the cache has batch times as many
  std::int64_t page_size;         // pages_of_request · page_size is at least `valid`
};

struct IndexLists {
  std::vector<std::int32_t> slots;  // [batch, query_tokens, topk]
  std::int64_t distinct = 0;        // slots of the cache that any list names
};

IndexLists draw_lists(const ListShape& shape, std::uint64_t seed);

}  // namespace flashmla::tools
