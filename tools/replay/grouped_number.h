// Large numbers that people can read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>

namespace flashmla::tools {

// "12,345" of a number ≥ 0.
inline std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (std::ptrdiff_t i = std::ssize(digits) - 3; i > 0; i -= 3)
    digits.insert(static_cast<std::size_t>(i), 1, ',');
  return digits;
}

}  // namespace flashmla::tools
