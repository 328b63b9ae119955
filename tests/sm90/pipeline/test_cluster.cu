// What the CTAs of a cluster do together: arrivals at each other's barriers, and boxes to all.
#include "sm90/pipeline/cluster.h"

#include <numeric>

#include "sm90/tile/swizzle.h"
#include "tests/sm90/on_device.h"
#include "tests/sm90/phase.h"
#include "tests/sm90/tensor_map.h"

namespace flashmla::sm90::pipeline {

namespace {

using test::Memory;

constexpr int threads = 64;
constexpr int clusters = 3;
constexpr int barrier_id = 1;

// Each CTA has a barrier that every CTA of the cluster arrives at once a phase. CTA r is late in
// the phases whose number is r modulo the cluster size.
template <int ClusterSize>
struct Arrive {
  static constexpr int phases = 5;
  int* over;            // [block][phases][2]: whether the phases of parity 0 and 1 are over
  std::uint32_t* rank;  // [block]

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const std::uint32_t barrier = shared.address;
    if (threadIdx.x == 0) {
      ptx::mbarrier_init(barrier, ClusterSize);
      ptx::fence_mbarrier_init();
      rank[blockIdx.x] = ClusterSize > 1 ? ptx::cluster_rank() : 0;
    }
    join_cluster<ClusterSize>(barrier_id, threads);
    for (int phase = 0; phase < phases; ++phase) {
      if (ClusterSize > 1 && static_cast<int>(ptx::cluster_rank()) == phase % ClusterSize)
        test::idle(20000);
      if (threadIdx.x < 32)
        arrive_at_cluster<ClusterSize>(barrier, static_cast<int>(threadIdx.x));
      ptx::mbarrier_wait(barrier, phase % 2);
      join_cluster<ClusterSize>(barrier_id, threads);
      if (threadIdx.x < 2)
        over[(blockIdx.x * phases + phase) * 2 + threadIdx.x] =
            test::phase_is_over(barrier, threadIdx.x);
      join_cluster<ClusterSize>(barrier_id, threads);
    }
    leave_cluster<ClusterSize>();
  }
};

// CTA r loads its share of the rows of a chunk and sends it to all.
template <int ClusterSize>
struct Share {
  static constexpr int rows = 64;
  static constexpr int own_rows = rows / ClusterSize;
  CUtensorMap map;     // boxes of own_rows tokens
  std::uint16_t* got;  // [block][rows][64]

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    constexpr std::uint32_t bytes = rows * tile::row_bytes;
    const std::uint32_t barrier = shared.address + bytes;
    if (threadIdx.x == 0) {
      ptx::mbarrier_init(barrier, 1);
      ptx::fence_mbarrier_init();
    }
    join_cluster<ClusterSize>(barrier_id, threads);
    const int rank = ClusterSize > 1 ? static_cast<int>(ptx::cluster_rank()) : 0;
    const int page = static_cast<int>(blockIdx.x) / ClusterSize;
    if (threadIdx.x == 0) {
      ptx::mbarrier_arrive_expect(barrier, bytes);
      load_to_cluster<ClusterSize>(shared.address + rank * own_rows * tile::row_bytes, &map,
                                   barrier, {0, rank * own_rows, 1, 0, page}, test::normal_policy);
    }
    ptx::mbarrier_wait(barrier, 0);
    for (int i = static_cast<int>(threadIdx.x); i < rows * 64; i += threads)
      got[blockIdx.x * rows * 64 + i] = *reinterpret_cast<const std::uint16_t*>(
          shared.bytes + tile::swizzled(i / 64, i % 64 / 8) + i % 8 * 2);
    __syncwarp();
    leave_cluster<ClusterSize>();
  }
};

template <class Size>
class Cluster : public test::DeviceTest {};

template <int Size>
using ClusterOf = std::integral_constant<int, Size>;
using Sizes = testing::Types<ClusterOf<1>, ClusterOf<2>, ClusterOf<4>>;

struct SizeNames {
  template <class Size>
  static std::string GetName(int) {
    return "of_" + std::to_string(Size::value);
  }
};

TYPED_TEST_SUITE(Cluster, Sizes, SizeNames);

TYPED_TEST(Cluster, ArrivesOnceAtTheBarrierOfEveryCta) {
  constexpr int size = TypeParam::value;
  constexpr int blocks = clusters * size;
  constexpr int phases = Arrive<size>::phases;
  Memory<int> over(blocks * phases * 2);
  Memory<std::uint32_t> rank(blocks);
  test::run_blocks({.threads = threads, .shared_bytes = 8, .blocks = blocks, .cluster = size},
                   Arrive<size>{over.data(), rank.data()});
  const std::vector<int> got = over.read();
  const std::vector<std::uint32_t> ranks = rank.read();
  for (int block = 0; block < blocks; ++block) {
    EXPECT_EQ(ranks[block], static_cast<std::uint32_t>(block % size));
    for (int phase = 0; phase < phases; ++phase)
      for (int parity = 0; parity < 2; ++parity)
        EXPECT_EQ(got[(block * phases + phase) * 2 + parity], parity == phase % 2)
            << "block " << block << ", phase " << phase << ", parity " << parity;
  }
}

TYPED_TEST(Cluster, GetsTheBoxesOfAllItsCtas) {
  constexpr int size = TypeParam::value;
  constexpr int blocks = clusters * size;
  constexpr int rows = Share<size>::rows;
  constexpr test::CacheShape shape{.tokens = rows, .chunks = 2, .heads = 1, .pages = clusters};
  std::vector<std::uint16_t> numbers(shape.elements());
  std::iota(numbers.begin(), numbers.end(), std::uint16_t{1});
  Memory<std::uint16_t> data(numbers);
  Memory<std::uint16_t> got(std::size_t{blocks} * rows * 64);
  test::run_blocks(
      {.threads = threads, .shared_bytes = rows * 128 + 8, .blocks = blocks, .cluster = size},
      Share<size>{test::tensor_map(data.data(), shape, Share<size>::own_rows, 1), got.data()});
  const std::vector<std::uint16_t> there = got.read();
  for (int i = 0; i < blocks * rows * 64; ++i) {
    const int block = i / (rows * 64);
    ASSERT_EQ(there[i], numbers[shape.at(block / size, 0, 1, i / 64 % rows, i % 64)])
        << "block " << block << ", row " << i / 64 % rows << ", column " << i % 64;
  }
}

}  // namespace

}  // namespace flashmla::sm90::pipeline
