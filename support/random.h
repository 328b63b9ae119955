// Random numbers for tests and tools: every number is a pure function of a key and a position, so
// that a printed seed brings back a whole case, and rows can be regenerated one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <type_traits>

namespace flashmla::support {

// A bijection on 64-bit numbers that flips about half of the bits for each bit of its argument
// (the finaliser of SplitMix64).
constexpr std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The key of a place: key_of(seed, request, position, layer). The order of the parts counts.
template <class... Parts>
  requires((std::is_integral_v<Parts> || std::is_enum_v<Parts>) && ...)
constexpr std::uint64_t key_of(std::uint64_t seed, Parts... parts) {
  std::uint64_t key = mix(seed + 0x9e3779b97f4a7c15u);
  ((key = mix(key ^ mix(static_cast<std::uint64_t>(parts) + 0x9e3779b97f4a7c15u))), ...);
  return key;
}

// Numbers of mean 0, variance 1 and magnitude below 3.47: the sum of four uniform ones. out[i]
// depends on (key, i) alone. About 10⁹ numbers a second on one core.
void fill_normal(std::span<float> out, std::uint64_t key);

// A sequence of random numbers for sizes and choices.
class Random {
 public:
  explicit Random(std::uint64_t key) : key_(key) {}

  std::uint64_t next() { return key_of(key_, count_++); }

  // Uniform in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  bool chance(double probability) { return unit() < probability; }

  // Uniform from `low` to `high`, both included.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    const auto choices = static_cast<std::uint64_t>(high - low) + 1;
    return low + static_cast<std::int64_t>(next() % choices);
  }

  // From `low` ≥ 1 to `high`, both included; each power of two is about equally likely.
  std::int64_t log_between(std::int64_t low, std::int64_t high);

  template <class T>
  T pick(std::span<const T> choices) {
    return choices[between(0, static_cast<std::int64_t>(choices.size()) - 1)];
  }

  template <class T>
  T pick(std::initializer_list<T> choices) {
    return pick(std::span<const T>(choices.begin(), choices.size()));
  }

 private:
  std::uint64_t key_;
  std::uint64_t count_ = 0;
};

// A seed that differs from run to run, at most 10⁹ so that it is easily typed.
std::uint64_t fresh_seed();

}  // namespace flashmla::support
