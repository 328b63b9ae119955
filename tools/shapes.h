// The shapes that `flashmla bench` times.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace flashmla::tools {

struct Shape {
  std::int64_t batch;
  std::int64_t query_tokens;  // s_q
  std::int64_t query_heads;   // h_q
  std::int64_t tokens;        // in each request's cache; their mean where varlen
  bool varlen = false;        // lengths from normal(tokens, tokens / 2), at least s_q
  bool causal = false;

  friend bool operator==(const Shape&, const Shape&) = default;
};

// "b,s_q,h_q,tokens[,varlen][,causal]", and back. Throws BadInput on anything else.
std::string text_of(const Shape& shape);
Shape parse_shape(const std::string& text);

// From one request with few heads (bound by memory) to batches with all of DeepSeek's 128.
std::span<const Shape> dense_shapes();

// The shapes of the recorded figures in benchmarks/reference.
std::span<const Shape> gpu_dense_shapes();

// Of sparse decoding and sparse prefill; tokens are the entries of each list.
std::span<const Shape> sparse_shapes();
std::span<const Shape> prefill_shapes();

}  // namespace flashmla::tools
