// The shapes that `flashmla bench` times.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "flashmla/kv_format.h"

namespace flashmla::tools {

struct Shape {
  std::int64_t batch;
  std::int64_t query_tokens;  // s_q
  std::int64_t query_heads;   // h_q
  std::int64_t tokens;        // in each request's cache; their mean where varlen
  bool varlen = false;        // lengths from normal(tokens, tokens / 2), at least s_q
  bool causal = false;

  // Sparse attention alone: `tokens` are the entries of each list.
  std::int64_t extra_tokens = 0;  // entries of each list into an extra cache
  std::int64_t extra_page = 0;    // tokens in a page of that cache; 0 without one
  std::int64_t valid = 0;         // entries that name a slot, where the others are −1; 0: all do
  bool scattered = false;         // the valid ones stand anywhere in the list, not first

  bool sparse_only() const { return extra_tokens > 0 || valid > 0; }

  friend bool operator==(const Shape&, const Shape&) = default;
};

// "b,s_q,h_q,tokens[,varlen][,causal]", and back; in sparse attention
// "b,s_q,h_q,topk[+extra_topk[@extra_page]][,validN|,scatteredN]", where extra_page is 64 unless it
// is given. Throws BadInput on anything else.
std::string text_of(const Shape& shape);
Shape parse_shape(const std::string& text);

// From one request with few heads (bound by memory) to batches with all of DeepSeek's 128.
std::span<const Shape> dense_shapes();

// Of sparse decoding and sparse prefill.
std::span<const Shape> sparse_shapes();
std::span<const Shape> prefill_shapes();

// The shapes of the recorded figures in benchmarks/reference. Sparse ones have those of the format,
// and for V3.2 lists with few valid entries besides; bf16 has lists where nothing was recorded.
std::span<const Shape> gpu_dense_shapes();
std::span<const Shape> gpu_sparse_shapes(KvFormat format);

}  // namespace flashmla::tools
