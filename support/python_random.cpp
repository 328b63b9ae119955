#include "support/python_random.h"

#include <array>
#include <cmath>
#include <cstddef>

namespace flashmla::support {

namespace {

// The state that CPython's random.seed(int) makes of the words of its argument ("init_by_array" of
// the generator's authors), in the form in which std::mt19937 asks for it.
class SeedWords {
 public:
  using result_type = std::uint32_t;

  explicit SeedWords(std::uint64_t seed)
      : words_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        count_(words_[1] == 0 ? 1 : 2) {}

  // `first … last`: the 624 words of the state.
  template <class Iterator>
  void generate(Iterator first, Iterator last) const {
    const auto size = static_cast<std::size_t>(last - first);
    first[0] = 19650218;
    for (std::size_t i = 1; i < size; ++i)
      first[i] = 1812433253u * folded(first[i - 1]) + static_cast<std::uint32_t>(i);
    std::size_t place = 1;
    const auto step = [&] {
      if (++place == size) {
        first[0] = first[size - 1];
        place = 1;
      }
    };
    for (std::size_t n = 0; n < size; ++n, step()) {  // the state is longer than the key
      const std::size_t word = n % count_;
      first[place] = (first[place] ^ (folded(first[place - 1]) * 1664525u)) + words_[word] +
                     static_cast<std::uint32_t>(word);
    }
    for (std::size_t n = 1; n < size; ++n, step())
      first[place] = (first[place] ^ (folded(first[place - 1]) * 1566083941u)) -
                     static_cast<std::uint32_t>(place);
    first[0] = 0x80000000u;
  }

 private:
  static std::uint32_t folded(std::uint32_t word) { return word ^ (word >> 30); }

  std::array<std::uint32_t, 2> words_;
  std::size_t count_;
};

std::mt19937 engine_of(std::uint64_t seed) {
  SeedWords words(seed);
  return std::mt19937(words);
}

}  // namespace

PythonRandom::PythonRandom(std::uint64_t seed) : engine_(engine_of(seed)) {}

double PythonRandom::unit() {
  const double high = static_cast<double>(engine_() >> 5);
  const double low = static_cast<double>(engine_() >> 6);
  return (high * 0x1p26 + low) * 0x1p-53;
}

// Kinderman and Monahan's ratio of uniform deviates.
double PythonRandom::normal(double mean, double deviation) {
  static const double width = 4 * std::exp(-0.5) / std::sqrt(2.0);
  for (;;) {
    const double first = unit();
    const double second = 1 - unit();
    const double z = width * (first - 0.5) / second;
    if (z * z / 4 <= -std::log(second))
      return mean + z * deviation;
  }
}

}  // namespace flashmla::support
