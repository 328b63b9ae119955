// How a cached token lies in memory. The byte layout stands only in this header: the backends,
// their kernels and the tests read it here.
#pragma once

#include <cstdint>
#include <string_view>

#include "flashmla/dtype.h"

namespace flashmla {

enum class KvFormat : std::int32_t {
  bf16,  // a token is d_qk bf16 elements
  fp16,  // a token is d_qk fp16 elements
  v32,   // DeepSeek-V3.2: 656 bytes a token, e4m3 latent with four fp32 scales, bf16 rotary part
  v4,    // DeepSeek-V4: 584 bytes a token, e4m3 latent with seven e8m0 scales, bf16 rotary part
};

constexpr std::string_view name_of(KvFormat format) {
  switch (format) {
    case KvFormat::bf16:
      return "bf16";
    case KvFormat::fp16:
      return "fp16";
    case KvFormat::v32:
      return "v32";
    case KvFormat::v4:
      return "v4";
  }
  return "?";
}

// Whether a cached row is d_qk elements of a 16-bit type, without scales.
constexpr bool is_plain(KvFormat format) {
  return format == KvFormat::bf16 || format == KvFormat::fp16;
}

// Element type of a cache tensor of this format (FP8 formats are byte tensors).
constexpr DType cache_dtype(KvFormat format) {
  switch (format) {
    case KvFormat::bf16:
      return DType::bf16;
    case KvFormat::fp16:
      return DType::fp16;
    case KvFormat::v32:
    case KvFormat::v4:
      return DType::u8;
  }
  return DType::u8;
}

// The FP8 formats. Offsets are in bytes from the start of a page; docs/formats.md has pictures. The
// latent elements are e4m3, in tiles that share a scale. The rotary elements are bf16. A
// dequantised latent element is bf16(e4m3 · scale): the product in fp32, rounded once.
inline constexpr std::int64_t rotary_elements = 64;
inline constexpr std::int64_t rotary_bytes = 2 * rotary_elements;

// A token has 512 e4m3, then four fp32 scales (any finite number), then the rotary part.
struct V32Layout {
  static constexpr std::int64_t latent_elements = 512;
  static constexpr std::int64_t tile_elements = 128;  // elements that share a scale
  static constexpr std::int64_t tiles = latent_elements / tile_elements;
  static constexpr std::int64_t qk_dim = latent_elements + rotary_elements;

  static constexpr std::int64_t scales_offset = latent_elements;  // from the token's start
  static constexpr std::int64_t rotary_offset = scales_offset + tiles * 4;
  static constexpr std::int64_t token_bytes = rotary_offset + rotary_bytes;

  static constexpr std::int64_t token_offset(std::int64_t token) { return token * token_bytes; }
  static constexpr std::int64_t scales_of(std::int64_t token, std::int64_t /*page_size*/) {
    return token_offset(token) + scales_offset;
  }
};
static_assert(V32Layout::token_bytes == 656 && V32Layout::qk_dim == 576);

// The row of a token has 448 e4m3, then the rotary part. The scales of a page lie behind all rows
// of the page. A token has eight bytes of them: seven e8m0 (byte s is 2^(s − 127), 255 is NaN), and
// one byte that may hold anything.
struct V4Layout {
  static constexpr std::int64_t latent_elements = 448;
  static constexpr std::int64_t tile_elements = 64;
  static constexpr std::int64_t tiles = latent_elements / tile_elements;
  static constexpr std::int64_t qk_dim = latent_elements + rotary_elements;

  static constexpr std::int64_t rotary_offset = latent_elements;  // from the row's start
  static constexpr std::int64_t row_bytes = rotary_offset + rotary_bytes;
  static constexpr std::int64_t scales_bytes = 8;
  static constexpr std::int64_t token_bytes = row_bytes + scales_bytes;

  static constexpr std::int64_t token_offset(std::int64_t token) { return token * row_bytes; }
  static constexpr std::int64_t scales_of(std::int64_t token, std::int64_t page_size) {
    return page_size * row_bytes + token * scales_bytes;
  }
};
static_assert(V4Layout::token_bytes == 584 && V4Layout::qk_dim == 512);

// The number of elements of one cached token: the size of the last dimension of the cache tensor.
constexpr std::int64_t token_elements(KvFormat format, std::int64_t qk_dim) {
  switch (format) {
    case KvFormat::bf16:
    case KvFormat::fp16:
      return qk_dim;
    case KvFormat::v32:
      return V32Layout::token_bytes;
    case KvFormat::v4:
      return V4Layout::token_bytes;
  }
  return 0;
}

// d_qk of an FP8 format. 0 for bf16 and fp16, whose rows may have any d_qk.
constexpr std::int64_t format_qk_dim(KvFormat format) {
  switch (format) {
    case KvFormat::bf16:
    case KvFormat::fp16:
      return 0;
    case KvFormat::v32:
      return V32Layout::qk_dim;
    case KvFormat::v4:
      return V4Layout::qk_dim;
  }
  return 0;
}

// Bytes of one cached token.
constexpr std::int64_t token_bytes(KvFormat format, std::int64_t qk_dim) {
  return token_elements(format, qk_dim) * static_cast<std::int64_t>(size_of(cache_dtype(format)));
}

}  // namespace flashmla
