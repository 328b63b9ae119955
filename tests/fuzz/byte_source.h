// Turns the bytes of the fuzzer into numbers. After the last byte the numbers are zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace flashmla::fuzz {

class ByteSource {
 public:
  ByteSource(const std::uint8_t* data, std::size_t size) : next_(data), left_(size) {}

  std::size_t left() const { return left_; }

  std::uint8_t byte() {
    if (left_ == 0)
      return 0;
    --left_;
    return *next_++;
  }

  std::uint64_t word(int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i)
      value |= std::uint64_t{byte()} << (8 * i);
    return value;
  }

  // From `low` to `high`, both included and at most 256 apart.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + byte() % (high - low + 1);
  }

  bool flag() { return (byte() & 1) != 0; }

  // Numbers that may overflow, and numbers near `sound`.
  std::int64_t edge(std::int64_t sound) {
    constexpr std::int64_t max_value = std::numeric_limits<std::int64_t>::max();
    const auto bits = static_cast<std::uint64_t>(sound);
    switch (byte() % 12) {
      case 0:
        return static_cast<std::int64_t>(bits + 1);
      case 1:
        return static_cast<std::int64_t>(bits - 1);
      case 2:
        return static_cast<std::int64_t>(0 - bits);
      case 3:
        return 0;
      case 4:
        return static_cast<std::int64_t>(bits * 2);
      case 5:
        return max_value;
      case 6:
        return -max_value - 1;
      case 7:
        return std::int64_t{1} << (byte() % 63);
      case 8:
        return static_cast<std::int64_t>(word(8));
      case 9:
        return static_cast<std::int32_t>(word(4));
      default:
        return byte();
    }
  }

 private:
  const std::uint8_t* next_;
  std::size_t left_;
};

}  // namespace flashmla::fuzz
