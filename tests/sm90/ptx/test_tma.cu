// The copy engine: where the elements of a box come to lie, and the zeros outside of a tensor.
#include "sm90/ptx/tma.h"

#include <numeric>

#include "sm90/ptx/mbarrier.h"
#include "sm90/tile/swizzle.h"
#include "tests/sm90/on_device.h"
#include "tests/sm90/tensor_map.h"

namespace flashmla::sm90::ptx {

namespace {

using test::CacheShape;
using test::Memory;

// A box to shared memory, from there in plain order to `got`.
struct Load {
  CUtensorMap map;
  BoxPlace place;
  int tokens;  // of the box
  int chunks;
  std::uint16_t* got;  // [chunks][tokens][64]

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const std::uint32_t bytes = chunks * tokens * tile::row_bytes;
    const std::uint32_t barrier = shared.address + bytes;
    if (threadIdx.x == 0) {
      prefetch_tensor_map(&map);
      mbarrier_init(barrier, 1);
      fence_mbarrier_init();
      mbarrier_arrive_expect(barrier, bytes);
      tma_load(shared.address, &map, barrier, place, test::normal_policy);
    }
    __syncthreads();
    mbarrier_wait(barrier, 0);
    for (int i = static_cast<int>(threadIdx.x); i < chunks * tokens * 64; i += 32) {
      const int row = i / 64;  // of all chunks, which lie one behind the other
      const int column = i % 64;
      const std::uint32_t offset = row / tokens * tokens * tile::row_bytes +
                                   tile::swizzled(row % tokens, column / 8) + column % 8 * 2;
      got[i] = *reinterpret_cast<const std::uint16_t*>(shared.bytes + offset);
    }
  }
};

class Tma : public test::DeviceTest {
 protected:
  static constexpr CacheShape shape{.tokens = 48, .chunks = 3, .heads = 2, .pages = 5};

  // Loads a box and compares it with the tensor, element by element.
  static void expect_box(const BoxPlace& place, int tokens, int chunks) {
    std::vector<std::uint16_t> numbers(shape.elements());
    std::iota(numbers.begin(), numbers.end(), std::uint16_t{1});
    Memory<std::uint16_t> data(numbers);
    Memory<std::uint16_t> got(static_cast<std::size_t>(chunks) * tokens * 64);
    const CUtensorMap map = test::tensor_map(data.data(), shape, tokens, chunks);
    test::run_blocks({.threads = 32, .shared_bytes = chunks * tokens * 128 + 8},
                     Load{map, place, tokens, chunks, got.data()});
    const std::vector<std::uint16_t> there = got.read();
    for (int i = 0; i < chunks * tokens * 64; ++i) {
      const int chunk = place.chunk + i / 64 / tokens;
      const int token = place.token + i / 64 % tokens;
      const bool inside = static_cast<std::uint64_t>(place.page) < shape.pages &&
                          static_cast<std::uint64_t>(token) < shape.tokens &&
                          static_cast<std::uint64_t>(chunk) < shape.chunks;
      const std::uint16_t wanted =
          inside ? numbers[shape.at(place.page, place.head, chunk, token, i % 64)] : 0;
      ASSERT_EQ(there[i], wanted) << "chunk " << chunk << ", token " << token << ", column "
                                  << i % 64;
    }
  }
};

TEST_F(Tma, LoadsABoxSwizzled) {
  expect_box({.column = 0, .token = 0, .chunk = 0, .head = 0, .page = 0}, 16, 1);
}

TEST_F(Tma, TakesEveryCoordinate) {
  expect_box({.column = 0, .token = 16, .chunk = 2, .head = 1, .page = 3}, 16, 1);
  expect_box({.column = 0, .token = 8, .chunk = 0, .head = 1, .page = 4}, 24, 1);
}

TEST_F(Tma, PutsTheChunksOfABoxOneBehindTheOther) {
  expect_box({.column = 0, .token = 16, .chunk = 1, .head = 0, .page = 2}, 32, 2);
}

TEST_F(Tma, WritesZerosOutsideOfTheTensor) {
  expect_box({.column = 0, .token = 40, .chunk = 0, .head = 1, .page = 4}, 16, 1);
  expect_box({.column = 0, .token = 0, .chunk = 2, .head = 0, .page = 1}, 16, 2);
  expect_box({.column = 0, .token = 0, .chunk = 0, .head = 0, .page = -1}, 16, 1);
  expect_box({.column = 0, .token = 0, .chunk = 0, .head = 0, .page = 5}, 16, 1);
}

}  // namespace

}  // namespace flashmla::sm90::ptx
