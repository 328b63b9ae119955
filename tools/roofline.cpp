#include "tools/roofline.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "flashmla/backends.h"
#include "tools/dense_options.h"
#include "tools/machine.h"
#include "tools/roofline/gpu.h"
#include "tools/roofline/loops.h"

namespace flashmla::tools {

namespace {

using Clock = std::chrono::steady_clock;

const RooflineLoops& best_loops() {
#ifdef FLASHMLA_ROOFLINE_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma"))
    return avx512_loops;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return avx2_loops;
#endif
  return baseline_loops;
}

// The seconds from a common start until the last of the threads has done body(thread).
double timed_on_threads(int threads, const std::function<void(int)>& body) {
  std::vector<std::jthread> team;
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  for (int t = 0; t < threads; ++t)
    team.emplace_back([&, t] {
      ++ready;
      go.wait(false);
      body(t);
    });
  while (ready < threads)
    std::this_thread::yield();
  const auto start = Clock::now();
  go = true;
  go.notify_all();
  team.clear();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The result of one thread, on a cache line of its own. It keeps the compiler from removing the
// loop.
struct alignas(64) Result {
  double value;
};

double best_of(int repeats, const std::function<double()>& rate) {
  double best = 0;
  for (int i = 0; i < repeats; ++i)
    best = std::max(best, rate());
  return best;
}

double measure_flop(const RooflineLoops& loops, int threads) {
  constexpr std::int64_t rounds = 4'000'000;
  std::vector<Result> results(static_cast<std::size_t>(threads));
  return best_of(4, [&] {
    const double seconds = timed_on_threads(threads, [&](int t) {
      results[t].value = static_cast<double>(loops.multiply_add(rounds, 0.5f));
    });
    return static_cast<double>(loops.flop_per_round) * rounds * threads / seconds;
  });
}

// Twice the size of the last-level cache, but no more than a small machine can spare.
std::size_t words_to_read() {
  const Machine machine = this_machine();
  constexpr std::size_t least = std::size_t{128} << 20;
  constexpr std::size_t most = std::size_t{1} << 30;
  const std::size_t spare = std::max(least, machine.memory_bytes / 8);
  return std::min(std::clamp(2 * machine.cache_bytes, least, most), spare) / sizeof(std::uint64_t);
}

double measure_bandwidth(const RooflineLoops& loops, int threads) {
  const std::size_t share = words_to_read() / static_cast<std::size_t>(threads);
  const std::vector<std::uint64_t> words(share * static_cast<std::size_t>(threads), 3);
  std::vector<Result> results(static_cast<std::size_t>(threads));
  return best_of(3, [&] {
    const double seconds = timed_on_threads(threads, [&](int t) {
      const auto thread = static_cast<std::size_t>(t);
      results[thread].value = static_cast<double>(loops.read(words.data() + thread * share, share));
    });
    return static_cast<double>(words.size() * sizeof(std::uint64_t)) / seconds;
  });
}

}  // namespace

Roofline measure_roofline(const Device& device) {
  if (device.type == DeviceType::cuda) {
    device_of_backend("cuda");
#if defined(FLASHMLA_HAS_CUDA)
    return gpu_roofline(device.index);
#endif
  }
  const RooflineLoops& loops = best_loops();
  const int threads = cpu_threads();
  return {.bytes_per_second = measure_bandwidth(loops, threads),
          .flop_per_second = measure_flop(loops, threads)};
}

}  // namespace flashmla::tools
