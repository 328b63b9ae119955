// Small, valid sparse calls. small_call.h has the dense one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "flashmla/flashmla.h"
#include "support/numeric.h"

namespace flashmla::tests {

// Sparse decoding over a v32 cache with an extra cache, two requests of two query tokens.
struct SparseCall {
  Problem problem;
  Inputs inputs;
  Outputs outputs;

  std::vector<std::uint16_t> q, out;
  std::vector<std::uint8_t> cache, extra_cache;
  std::vector<float> lse, sink, max_logits;
  std::vector<std::int32_t> indices, lengths, extra_indices, extra_lengths;

  explicit SparseCall(AttentionKind kind = AttentionKind::sparse_decode) {
    const bool decode = kind == AttentionKind::sparse_decode;
    problem.kind = kind;
    problem.batch = decode ? 2 : 1;
    problem.query_tokens = decode ? 2 : 4;
    problem.query_heads = 3;
    problem.page_size = 4;
    problem.topk = 5;
    std::mt19937 random(3);
    q.resize(4 * 3 * 576);
    std::ranges::generate(q, [&] {
      return support::float_to_bf16(static_cast<float>(random() % 128) / 64.0f - 1.0f);
    });
    cache.assign(3 * 4 * 1152, 0x38);  // e4m3 1, fp32 and bf16 near 4.4e-5
    extra_cache.assign(2 * 2 * 656, 0x38);
    indices.assign(4 * 5, 7);
    lengths.assign(4, 4);
    extra_indices.assign(4 * 6, 3);
    extra_lengths.assign(2, 2);
    out.assign(4 * 3 * 512, nan_bits);
    lse.assign(4 * 3, std::numeric_limits<float>::quiet_NaN());
    max_logits.assign(4 * 3, std::numeric_limits<float>::quiet_NaN());
    sink.assign(3, 0.5f);
    inputs.attn_sink = {sink.data(), DType::fp32, {3}};
    decode ? make_decode() : make_prefill();
  }
  SparseCall(const SparseCall&) = delete;
  SparseCall& operator=(const SparseCall&) = delete;

  bool nothing_written() const {
    return std::ranges::all_of(out, [](std::uint16_t bits) { return bits == nan_bits; }) &&
           std::ranges::all_of(lse, [](float value) { return std::isnan(value); });
  }
  bool all_written() const {
    return std::ranges::none_of(out, [](std::uint16_t bits) { return bits == nan_bits; }) &&
           std::ranges::none_of(lse, [](float value) { return std::isnan(value); });
  }

  static constexpr std::uint16_t nan_bits = 0x7fc1;

 private:
  void make_decode() {
    problem.kv_format = KvFormat::v32;
    problem.extra_topk = 6;
    problem.extra_page_size = 2;
    inputs.q = {q.data(), DType::bf16, {2, 2, 3, 576}};
    inputs.kv_cache = {cache.data(), DType::u8, {3, 4, 1, 656}};
    inputs.indices = {indices.data(), DType::i32, {2, 2, 5}};
    inputs.topk_length = {lengths.data(), DType::i32, {2}};
    inputs.extra_kv_cache = {extra_cache.data(), DType::i8, {2, 2, 1, 656}};
    inputs.extra_indices = {extra_indices.data(), DType::i32, {2, 2, 6}};
    inputs.extra_topk_length = {extra_lengths.data(), DType::i32, {2}};
    outputs = {{out.data(), DType::bf16, {2, 2, 3, 512}}, {lse.data(), DType::fp32, {2, 3, 2}}, {}};
  }

  void make_prefill() {
    inputs.q = {q.data(), DType::bf16, {4, 3, 576}};
    inputs.kv_cache = {cache.data(), DType::bf16, {12, 1, 576}};
    inputs.indices = {indices.data(), DType::i32, {4, 1, 5}};
    inputs.topk_length = {lengths.data(), DType::i32, {4}};
    outputs = {{out.data(), DType::bf16, {4, 3, 512}},
               {lse.data(), DType::fp32, {4, 3}},
               {max_logits.data(), DType::fp32, {4, 3}}};
  }
};

}  // namespace flashmla::tests
