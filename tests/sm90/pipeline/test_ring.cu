// Rings: nothing is read before it is written, nothing is overwritten before it has been read.
#include "sm90/pipeline/ring.h"

#include <type_traits>

#include "tests/sm90/on_device.h"
#include "tests/sm90/phase.h"

namespace flashmla::sm90::pipeline {

namespace {

using test::Memory;

template <int Slots>
using SlotsOf = std::integral_constant<int, Slots>;

struct SlotNames {
  template <class Slots>
  static std::string GetName(int) {
    return "of_" + std::to_string(Slots::value);
  }
};

FLASHMLA_DEVICE int lane() {
  return static_cast<int>(threadIdx.x) % 32;
}

// One thread makes the ring's barriers, at `shared`.
template <int Slots>
FLASHMLA_DEVICE Ring<Slots> make_ring(const test::Shared& shared, int writers, int readers) {
  const Ring<Slots> ring{{shared.address}};
  if (threadIdx.x == 0) {
    ring.initialise(writers, readers);
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  return ring;
}

constexpr int barrier_space = 256;  // bytes of shared memory in front of the data

// Warp 0 writes items to the slots and warp 1 reads them. In turns of `spell` items the writer or
// the reader is slow, so that the ring is once empty and once full.
template <int Slots>
struct PassItems {
  static constexpr int items = 8 * Slots + 3;
  static constexpr int spell = 2 * Slots + 1;
  int* got;  // [items][32]

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const Ring<Slots> ring = make_ring<Slots>(shared, 32, 32);
    auto* const slots = reinterpret_cast<volatile int*>(shared.bytes + barrier_space);
    RingPosition<Slots> at;
    for (int item = 0; item < items; ++item, at.advance()) {
      const bool slow_writer = item / spell % 2 == 0;
      if (threadIdx.x < 32) {
        ring.acquire(at);
        if (slow_writer)
          test::idle(3000 + 50 * lane());
        slots[at.template slot_in<Slots>() * 32 + lane()] = 100 * item + lane();
        ring.commit(at);
      } else {
        ring.wait(at);
        if (!slow_writer)
          test::idle(3000 + 50 * lane());
        got[item * 32 + lane()] =
            slots[at.template slot_in<Slots>() * 32 + 31 - lane()];  // of another thread
        ring.release(at);
      }
    }
  }
};

template <class Slots>
class RingOfSlots : public test::DeviceTest {};
using Sizes = testing::Types<SlotsOf<1>, SlotsOf<2>, SlotsOf<3>, SlotsOf<6>>;
TYPED_TEST_SUITE(RingOfSlots, Sizes, SlotNames);

TYPED_TEST(RingOfSlots, PassesEveryItemOverManyRounds) {
  using Body = PassItems<TypeParam::value>;
  Memory<int> got(Body::items * 32);
  test::run_blocks({.threads = 64, .shared_bytes = barrier_space + TypeParam::value * 128},
                   Body{got.data()});
  const std::vector<int> there = got.read();
  for (int i = 0; i < Body::items * 32; ++i)
    ASSERT_EQ(there[i], i / 32 * 100 + 31 - i % 32) << "item " << i / 32;
}

// Whether the phases of the slots' barriers are over, after each call of one thread.
template <int Slots>
struct Steps {
  int* over;  // [steps][Slots][ready or free][parity]
  static constexpr int steps = 4;
  static constexpr int of_step = Slots * 4;

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const Ring<Slots> ring = make_ring<Slots>(shared, 2, 1);
    RingPosition<Slots> at;
    at.advance();  // slot 1
    look(ring, 0);
    ring.commit(at);
    look(ring, 1);
    ring.commit(at);  // the second one of two writers
    look(ring, 2);
    ring.release(at);
    look(ring, 3);
  }

  FLASHMLA_DEVICE void look(const Ring<Slots>& ring, int step) const {
    for (int slot = 0; slot < Slots; ++slot)
      for (int parity = 0; parity < 2; ++parity) {
        int* const of_slot = over + step * of_step + slot * 4 + parity;
        of_slot[0] = test::phase_is_over(ring.barriers.ready(slot), parity);
        of_slot[2] = test::phase_is_over(ring.barriers.free(slot), parity);
      }
  }
};

class RingTest : public test::DeviceTest {};

// Phase 0 of a slot is over when all writers have committed, or all readers have released.
TEST_F(RingTest, CountsWritersAndReadersOfOneSlotAlone) {
  using Body = Steps<3>;
  Memory<int> over(Body::steps * Body::of_step);
  test::run_blocks({.threads = 1, .shared_bytes = barrier_space}, Body{over.data()});
  const std::vector<int> got = over.read();
  for (int step = 0; step < Body::steps; ++step)
    for (int slot = 0; slot < 3; ++slot) {
      const int* const of_slot = &got[step * Body::of_step + slot * 4];
      const int filled = slot == 1 && step >= 2;
      const int released = slot == 1 && step >= 3;
      EXPECT_EQ(of_slot[0], filled) << "ready, step " << step << ", slot " << slot;
      EXPECT_EQ(of_slot[1], !filled) << "ready, step " << step << ", slot " << slot;
      EXPECT_EQ(of_slot[2], released) << "free, step " << step << ", slot " << slot;
      EXPECT_EQ(of_slot[3], !released) << "free, step " << step << ", slot " << slot;
    }
}

// A slot that the copy engine fills: there when the writer has said so and the bytes have come.
struct Bytes {
  int* over;              // [3]
  std::uint32_t* places;  // [3]: the barrier by expect(), by landing(), and where it has to be

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const Ring<2> ring = make_ring<2>(shared, 1, 1);
    RingPosition<2> at;
    at.advance();
    const std::uint32_t barrier = ring.expect(96, at);
    places[0] = barrier;
    places[1] = ring.landing(at).barrier;
    places[2] = ring.barriers.ready(1);
    over[0] = test::phase_is_over(barrier, 0);
    test::complete_bytes(barrier, 64);
    over[1] = test::phase_is_over(barrier, 0);
    test::complete_bytes(barrier, 32);
    ring.wait(at);
    over[2] = test::phase_is_over(barrier, 0);
  }
};

TEST_F(RingTest, WaitsForTheBytesOfASlot) {
  Memory<int> over(3);
  Memory<std::uint32_t> places(3);
  test::run_blocks({.threads = 1, .shared_bytes = barrier_space},
                   Bytes{over.data(), places.data()});
  EXPECT_EQ(over.read(), (std::vector<int>{0, 0, 1}));
  EXPECT_EQ(places.read()[0], places.read()[2]);
  EXPECT_EQ(places.read()[1], places.read()[2]);
}

// A barrier of its own for copies, over several phases.
struct Landings {
  static constexpr int rounds = 5;
  int* over;  // [rounds][2]: before and after the last bytes

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const Landing landing{shared.address};
    landing.initialise(2);
    ptx::fence_mbarrier_init();
    UseCount at;
    for (int round = 0; round < rounds; ++round, at.advance()) {
      const std::uint32_t barrier = landing.expect(32);
      test::complete_bytes(barrier, 32);
      over[2 * round] = test::phase_is_over(barrier, round % 2);
      landing.expect(16);
      test::complete_bytes(barrier, 16);
      landing.wait(at);
      over[2 * round + 1] = test::phase_is_over(barrier, round % 2);
    }
  }
};

TEST_F(RingTest, LandingsEndOnePhaseAfterTheOther) {
  Memory<int> over(2 * Landings::rounds);
  test::run_blocks({.threads = 1, .shared_bytes = 8}, Landings{over.data()});
  const std::vector<int> got = over.read();
  for (int round = 0; round < Landings::rounds; ++round) {
    EXPECT_EQ(got[2 * round], 0) << "round " << round << ": the second writer is still to come";
    EXPECT_EQ(got[2 * round + 1], 1) << "round " << round;
  }
}

// Each CTA writes its own ring, and the readers of all CTAs release it. The writer counts how many
// CTAs have read an item before it may write the one after next.
template <int ClusterSize>
struct Clusters {
  static constexpr int slots = 2;
  static constexpr int items = 9;
  int* reads;  // [block]: by each CTA, of everything so far; zeros at the start
  int* early;  // [block]: items that were overwritten too early

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const Ring<slots> ring = make_ring<slots>(shared, 32, ClusterSize);
    if constexpr (ClusterSize > 1)
      ptx::cluster_sync();
    const int first_block = static_cast<int>(blockIdx.x) / ClusterSize * ClusterSize;
    const int rank = static_cast<int>(blockIdx.x) - first_block;
    int too_early = 0;
    RingPosition<slots> at;
    for (int item = 0; item < items; ++item, at.advance()) {
      if (threadIdx.x < 32) {
        ring.acquire(at);
        for (int block = first_block; block < first_block + ClusterSize; ++block)
          too_early += static_cast<volatile int*>(reads)[block] < item - slots + 1;
        ring.commit(at);
      } else {
        ring.wait(at);
        if (item % ClusterSize == rank)
          test::idle(20000);
        if (lane() == 0) {
          atomicAdd(reads + blockIdx.x, 1);
          __threadfence();
        }
        __syncwarp();
        ring.template release_to_cluster<ClusterSize>(lane(), at);
      }
    }
    if (threadIdx.x == 0)
      early[blockIdx.x] = too_early;
    leave_cluster<ClusterSize>();
  }
};

template <class Size>
class RingInCluster : public test::DeviceTest {};
using ClusterSizes = testing::Types<SlotsOf<1>, SlotsOf<2>, SlotsOf<4>>;
TYPED_TEST_SUITE(RingInCluster, ClusterSizes, SlotNames);

TYPED_TEST(RingInCluster, IsFreeWhenEveryCtaHasReadIt) {
  constexpr int size = TypeParam::value;
  constexpr int blocks = 2 * size;
  Memory<int> reads(std::vector<int>(blocks, 0));
  Memory<int> early(blocks);
  test::run_blocks(
      {.threads = 64, .shared_bytes = barrier_space, .blocks = blocks, .cluster = size},
      Clusters<size>{reads.data(), early.data()});
  EXPECT_EQ(early.read(), std::vector<int>(blocks, 0));
  EXPECT_EQ(reads.read(), std::vector<int>(blocks, Clusters<size>::items));
}

}  // namespace

}  // namespace flashmla::sm90::pipeline
