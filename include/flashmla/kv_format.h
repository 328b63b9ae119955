// How a cached token is laid out in memory. The one place that knows the byte layout: the packer,
// the backends, their kernels, the tests and the documentation all read it here.
#pragma once

#include <cstdint>
#include <string_view>

#include "flashmla/dtype.h"

namespace flashmla {

enum class KvFormat : std::int32_t {
  bf16,  // d_qk bfloat16 numbers a token
  fp16,  // d_qk half-precision numbers a token
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

// True where a cached row is d_qk plain numbers of the query's type.
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

// Elements of one cached token along the cache tensor's last dimension.
constexpr std::int64_t token_elements(KvFormat format, std::int64_t qk_dim) {
  switch (format) {
    case KvFormat::bf16:
    case KvFormat::fp16:
      return qk_dim;
    case KvFormat::v32:
      return 656;
    case KvFormat::v4:
      return 584;
  }
  return 0;
}

constexpr std::int64_t token_bytes(KvFormat format, std::int64_t qk_dim) {
  return token_elements(format, qk_dim) * static_cast<std::int64_t>(size_of(cache_dtype(format)));
}

}  // namespace flashmla
