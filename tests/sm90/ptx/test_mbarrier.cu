// Barriers in shared memory: how many arrivals a phase takes, and how phases follow each other.
#include "sm90/ptx/mbarrier.h"

#include "sm90/ptx/load_store.h"
#include "tests/sm90/on_device.h"
#include "tests/sm90/phase.h"

namespace flashmla::sm90::ptx {

namespace {

using test::Memory;
using test::phase_is_over;

class Mbarrier : public test::DeviceTest {};

// One thread arrives `arrivals` times at a barrier of as many, and looks before and after each.
struct Arrivals {
  static constexpr int arrivals = 5;
  int* over;  // [arrivals + 1][2]: after n arrivals, whether the phases of parity 0 and 1 are over

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    mbarrier_init(shared.address, arrivals);
    fence_mbarrier_init();
    for (int n = 0;; ++n) {
      for (std::uint32_t parity = 0; parity < 2; ++parity)
        over[2 * n + parity] = phase_is_over(shared.address, parity);
      if (n == arrivals)
        return;
      mbarrier_arrive(shared.address);
    }
  }
};

TEST_F(Mbarrier, EndsAPhaseWithTheLastArrival) {
  Memory<int> over(2 * (Arrivals::arrivals + 1));
  test::run_blocks({.threads = 1, .shared_bytes = 8}, Arrivals{over.data()});
  const std::vector<int> got = over.read();
  for (int n = 0; n < Arrivals::arrivals; ++n) {
    EXPECT_EQ(got[2 * n], 0) << n << " arrivals";
    EXPECT_EQ(got[2 * n + 1], 1) << n << " arrivals; a fresh barrier's last phase is over";
  }
  EXPECT_EQ(got[2 * Arrivals::arrivals], 1);
  EXPECT_EQ(got[2 * Arrivals::arrivals + 1], 0) << "the next phase has begun";
}

// The writer fills a cell, the reader adds it up: each waits for the other in turn.
struct PingPong {
  static constexpr int rounds = 9;
  int* sums;  // [rounds], by the reader's thread 0

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const std::uint32_t full = shared.address;
    const std::uint32_t empty = shared.address + 8;
    auto* const cells = reinterpret_cast<volatile int*>(shared.bytes + 16);
    if (threadIdx.x == 0) {
      mbarrier_init(full, 32);
      mbarrier_init(empty, 32);
      fence_mbarrier_init();
    }
    __syncthreads();
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int round = 0; round < rounds; ++round) {
      const auto parity = static_cast<std::uint32_t>(round % 2);
      if (threadIdx.x < 32) {
        mbarrier_wait(empty, parity ^ 1);  // at once in the first round
        test::idle(lane * 200);            // the last lane is late
        cells[lane] = round * 100 + lane;
        mbarrier_arrive(full);
      } else {
        mbarrier_wait(full, parity);
        if (lane == 0) {
          int sum = 0;
          for (int i = 0; i < 32; ++i)
            sum += cells[i];
          sums[round] = sum;
        }
        __syncwarp();
        mbarrier_arrive(empty);
      }
    }
  }
};

TEST_F(Mbarrier, LetsAWriterAndAReaderTakeTurns) {
  Memory<int> sums(PingPong::rounds);
  test::run_blocks({.threads = 64, .shared_bytes = 256}, PingPong{sums.data()});
  const std::vector<int> got = sums.read();
  for (int round = 0; round < PingPong::rounds; ++round)
    EXPECT_EQ(got[round], 32 * 100 * round + 31 * 32 / 2) << "round " << round;
}

// A barrier that waits for bytes as well: the phase is not over when all have arrived.
struct Expectation {
  int* over;

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    mbarrier_init(shared.address, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(shared.address, 48);
    over[0] = phase_is_over(shared.address, 0);
    test::complete_bytes(shared.address, 32);
    over[1] = phase_is_over(shared.address, 0);
    test::complete_bytes(shared.address, 16);
    over[2] = phase_is_over(shared.address, 0);
  }
};

TEST_F(Mbarrier, WaitsForTheBytesThatAreExpected) {
  Memory<int> over(3);
  test::run_blocks({.threads = 1, .shared_bytes = 8}, Expectation{over.data()});
  EXPECT_EQ(over.read(), (std::vector<int>{0, 0, 1}));
}

// Each thread starts two copies, of 16 and of 8 bytes, and arrives when they are there. Nothing
// else waits for the copies.
struct ArrivalsAfterCopies {
  static constexpr int threads = 64;
  const std::uint32_t* source;  // [threads][6]
  std::uint32_t* copied;        // the same

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    if (threadIdx.x == 0) {
      mbarrier_init(shared.address, threads);
      fence_mbarrier_init();
    }
    __syncthreads();
    const int thread = static_cast<int>(threadIdx.x);
    const std::uint32_t wide = shared.address + 16 + thread * 16;
    const std::uint32_t half = shared.address + 16 + threads * 16 + thread * 8;
    copy_async(wide, source + thread * 4, true);
    copy_async_half(half, source + threads * 4 + thread * 2);
    mbarrier_arrive_after_copies(shared.address);
    mbarrier_wait(shared.address, 0);
    const int other = threads - 1 - thread;  // another thread's copies
    const auto* const words = reinterpret_cast<const std::uint32_t*>(shared.bytes + 16);
    for (int i = 0; i < 4; ++i)
      copied[other * 4 + i] = words[other * 4 + i];
    for (int i = 0; i < 2; ++i)
      copied[threads * 4 + other * 2 + i] = words[threads * 4 + other * 2 + i];
  }
};

TEST_F(Mbarrier, CountsAThreadWhenItsCopiesHaveArrived) {
  std::vector<std::uint32_t> numbers(ArrivalsAfterCopies::threads * 6);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = static_cast<std::uint32_t>(7 * i + 1);
  Memory<std::uint32_t> source(numbers);
  Memory<std::uint32_t> copied(numbers.size());
  test::run_blocks({.threads = ArrivalsAfterCopies::threads, .shared_bytes = 16 + 64 * 24},
                   ArrivalsAfterCopies{source.data(), copied.data()});
  EXPECT_EQ(copied.read(), numbers);
}

}  // namespace

}  // namespace flashmla::sm90::ptx
