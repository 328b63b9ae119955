// What two sides show each other, and in which order.
#include "sm90/pipeline/handoff.h"

#include "tests/sm90/on_device.h"
#include "tests/sm90/phase.h"

namespace flashmla::sm90::pipeline {

namespace {

using test::Memory;

enum class Shown { values, sums, count };

constexpr int threads = 32;        // of a side
constexpr int barrier_space = 64;  // bytes of shared memory in front of the data

FLASHMLA_DEVICE Handoff<Shown> make_handoff(const test::Shared& shared) {
  const Handoff<Shown> handoff{shared.address};
  if (threadIdx.x == 0) {
    for (int side = 0; side < 2; ++side)
      handoff.initialise(side, threads);
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  return handoff;
}

// Both sides write values and read the other side's, and then the same of their sums: those say
// that the values have been read. Side 0 and side 1 are late in turns.
struct Rounds {
  static constexpr int rounds = 7;
  int* sums;  // [side][round]: the sum of the other side's values, as that side was told

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const Handoff<Shown> handoff = make_handoff(shared);
    const int side = static_cast<int>(threadIdx.x) / threads;
    const int lane = static_cast<int>(threadIdx.x) % threads;
    auto* const cells = reinterpret_cast<volatile int*>(shared.bytes + barrier_space);
    volatile int* const values = cells;                // [side][threads]
    volatile int* const totals = cells + 2 * threads;  // [side]
    UseCount at;
    for (int round = 0; round < rounds; ++round, at.advance()) {
      if (round % 2 == side)
        test::idle(5000 + 100 * lane);
      values[side * threads + lane] = 1000 * round + 100 * side + lane;
      handoff.show(Shown::values, side);
      handoff.await(Shown::values, 1 - side, at);
      if (lane == 0) {
        int total = 0;
        for (int i = 0; i < threads; ++i)
          total += values[(1 - side) * threads + i];
        totals[side] = total;
      }
      __syncwarp();
      handoff.show(Shown::sums, side);
      handoff.await(Shown::sums, 1 - side, at);
      if (lane == 0)
        sums[side * rounds + round] = totals[1 - side];
      __syncwarp();
    }
  }
};

class HandoffTest : public test::DeviceTest {};

TEST_F(HandoffTest, ShowsEachSideWhatTheOtherOneWrote) {
  Memory<int> sums(2 * Rounds::rounds);
  test::run_blocks({.threads = 2 * threads, .shared_bytes = 1024}, Rounds{sums.data()});
  const std::vector<int> got = sums.read();
  for (int side = 0; side < 2; ++side)
    for (int round = 0; round < Rounds::rounds; ++round)
      EXPECT_EQ(got[side * Rounds::rounds + round],
                threads * (1000 * round + 100 * side) + threads * (threads - 1) / 2)
          << "side " << side << ", round " << round;
}

// One thing that one side shows ends one phase, and nothing else.
struct OneShown {
  Shown what;
  int side;
  int* over;  // [exchange][side]

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const Handoff<Shown> handoff = make_handoff(shared);
    if (threadIdx.x < threads - 1)
      handoff.show(what, side);
    __syncthreads();
    if (threadIdx.x == 0)
      for (int i = 0; i < Handoff<Shown>::barriers; ++i)
        over[i] = test::phase_is_over(shared.address + i * barrier_bytes, 0);
    __syncthreads();
    if (threadIdx.x == threads - 1)
      handoff.show(what, side);
    __syncthreads();
    if (threadIdx.x == 0)
      for (int i = 0; i < Handoff<Shown>::barriers; ++i)
        over[Handoff<Shown>::barriers + i] =
            test::phase_is_over(shared.address + i * barrier_bytes, 0);
  }
};

TEST_F(HandoffTest, KeepsExchangesAndSidesApart) {
  constexpr int barriers = Handoff<Shown>::barriers;
  for (const Shown what : {Shown::values, Shown::sums})
    for (int side = 0; side < 2; ++side) {
      Memory<int> over(2 * barriers);
      test::run_blocks({.threads = threads, .shared_bytes = barrier_space},
                       OneShown{what, side, over.data()});
      std::vector<int> wanted(2 * barriers, 0);
      wanted[barriers + 2 * static_cast<int>(what) + side] = 1;
      EXPECT_EQ(over.read(), wanted) << "exchange " << static_cast<int>(what) << ", side " << side;
    }
}

}  // namespace

}  // namespace flashmla::sm90::pipeline
