// Loads of memory that does not change.
#include <cstdint>
#include <vector>

#include "sm90/ptx/load_store.h"
#include "tests/sm90/drawn.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ptx {

namespace {

using test::Memory;

// Thread i: the unit, the word and the byte that begin at unit i, word i and byte i.
struct ConstantLoads {
  const std::uint8_t* source;  // [16 · threads]
  uint4* units;
  std::uint32_t* words;
  std::uint32_t* bytes;

  FLASHMLA_DEVICE void operator()(int i) const {
    units[i] = load_constant_unit(source + 16 * i);
    words[i] = load_constant_word(source + 4 * i);
    bytes[i] = load_constant_byte(source + i);
  }
};

class ConstantLoad : public test::DeviceTest {};

TEST_F(ConstantLoad, IsOfOneFourOrSixteenBytes) {
  constexpr int threads = 300;
  std::vector<std::uint8_t> numbers(16 * threads);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = static_cast<std::uint8_t>(i * 77 + i / 256);
  const auto word_at = [&](int i) {
    return numbers[i] | numbers[i + 1] << 8 | numbers[i + 2] << 16 |
           static_cast<std::uint32_t>(numbers[i + 3]) << 24;
  };
  Memory<std::uint8_t> source(numbers);
  Memory<uint4> units(threads);
  Memory<std::uint32_t> words(threads);
  Memory<std::uint32_t> bytes(threads);
  test::run_threads(threads,
                    ConstantLoads{source.data(), units.data(), words.data(), bytes.data()});
  const std::vector<uint4> got_units = units.read();
  const std::vector<std::uint32_t> got_words = words.read();
  const std::vector<std::uint32_t> got_bytes = bytes.read();
  for (int i = 0; i < threads; ++i) {
    const std::uint32_t of_unit[4] = {got_units[i].x, got_units[i].y, got_units[i].z,
                                      got_units[i].w};
    for (int j = 0; j < 4; ++j)
      ASSERT_EQ(of_unit[j], word_at(16 * i + 4 * j)) << "unit " << i << ", word " << j;
    ASSERT_EQ(got_words[i], word_at(4 * i)) << "word " << i;
    ASSERT_EQ(got_bytes[i], numbers[i]) << "byte " << i;
  }
}

}  // namespace

}  // namespace flashmla::sm90::ptx
