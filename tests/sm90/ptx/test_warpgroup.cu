// Named barriers, the thread that a warp elects, and kernels that overlap.
#include "sm90/ptx/warpgroup.h"

#include "sm90/ptx/grid_dependency.h"
#include "tests/sm90/on_device.h"
#include "tests/sm90/phase.h"

namespace flashmla::sm90::ptx {

namespace {

using test::Memory;

class Warpgroup : public test::DeviceTest {};

// Warp 0 waits for warps 1 and 2: one of them waits as well, the other one only arrives.
struct NamedBarrier {
  int* seen;  // [2]: what warps 1 and 2 had written when warp 0 went on

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    constexpr int id = 3;
    constexpr int threads = 96;
    auto* const cells = reinterpret_cast<volatile int*>(shared.bytes);
    const unsigned warp = threadIdx.x / 32;
    if (warp == 3)
      return;  // no part of the barrier
    if (warp > 0) {
      test::idle(20000);
      cells[warp] = 10 + static_cast<int>(warp);
    }
    if (warp == 2)
      barrier_arrive(id, threads);
    else
      barrier_sync(id, threads);
    if (threadIdx.x < 2)
      seen[threadIdx.x] = cells[1 + threadIdx.x];
  }
};

TEST_F(Warpgroup, MeetsAtANamedBarrier) {
  Memory<int> seen(2);
  test::run_blocks({.threads = 128, .shared_bytes = 64}, NamedBarrier{seen.data()});
  EXPECT_EQ(seen.read(), (std::vector<int>{11, 12}));
}

struct Elected {
  int* times;                    // [thread]: how often it was elected, of four
  std::uint32_t* uniform_value;  // [thread]

  FLASHMLA_DEVICE void operator()(const test::Shared&) const {
    int own = 0;
    for (int i = 0; i < 4; ++i)
      own += elected();
    times[threadIdx.x] = own;
    uniform_value[threadIdx.x] = uniform(1000 + threadIdx.x);
  }
};

TEST_F(Warpgroup, ElectsOneThreadOfEachWarpAndAlwaysTheSame) {
  constexpr int threads = 96;
  Memory<int> times(threads);
  Memory<std::uint32_t> values(threads);
  test::run_blocks({.threads = threads}, Elected{times.data(), values.data()});
  const std::vector<int> got = times.read();
  const std::vector<std::uint32_t> uniform_values = values.read();
  for (int first = 0; first < threads; first += 32) {
    int elected_threads = 0;
    for (int i = first; i < first + 32; ++i) {
      EXPECT_TRUE(got[i] == 0 || got[i] == 4) << "thread " << i << ": " << got[i];
      elected_threads += got[i] == 4;
      EXPECT_EQ(uniform_values[i], 1000u + first) << "thread " << i;
    }
    EXPECT_EQ(elected_threads, 1) << "of the warp of thread " << first;
  }
}

// The first kernel lets the second one start, and writes much later.
struct Writer {
  int* cell;

  FLASHMLA_DEVICE void operator()(const test::Shared&) const {
    launch_dependents();
    test::idle(2000000);
    *cell = 42;
  }
};

struct Reader {
  const int* cell;
  int* seen;

  FLASHMLA_DEVICE void operator()(const test::Shared&) const {
    wait_for_prerequisites();
    *seen = *static_cast<const volatile int*>(cell);
  }
};

TEST_F(Warpgroup, WaitsForTheKernelThatItOverlapsWith) {
  Memory<int> cell(1);
  Memory<int> seen(1);
  test::start_blocks({.threads = 1}, Writer{cell.data()});
  test::start_blocks({.threads = 1, .overlaps = true}, Reader{cell.data(), seen.data()});
  test::await_gpu();
  EXPECT_EQ(seen.read()[0], 42);
}

}  // namespace

}  // namespace flashmla::sm90::ptx
