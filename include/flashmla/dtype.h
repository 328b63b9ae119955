// Element types of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace flashmla {

enum class DType : std::int32_t { bf16, fp16, fp32, e4m3, u8, i8, i32, i64 };

// Size of one element in bytes.
constexpr std::size_t size_of(DType type) {
  switch (type) {
    case DType::e4m3:
    case DType::u8:
    case DType::i8:
      return 1;
    case DType::bf16:
    case DType::fp16:
      return 2;
    case DType::fp32:
    case DType::i32:
      return 4;
    case DType::i64:
      return 8;
  }
  return 0;
}

constexpr std::string_view name_of(DType type) {
  switch (type) {
    case DType::bf16:
      return "bf16";
    case DType::fp16:
      return "fp16";
    case DType::fp32:
      return "fp32";
    case DType::e4m3:
      return "e4m3";
    case DType::u8:
      return "u8";
    case DType::i8:
      return "i8";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
  }
  return "?";
}

}  // namespace flashmla
