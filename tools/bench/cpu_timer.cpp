#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "tools/bench/call_timer.h"
#include "tools/figures.h"
#include "tools/machine.h"

namespace flashmla::tools {

namespace {

using Clock = std::chrono::steady_clock;

// Copies of the cache that calls read in turn, as the layers of a model have a cache each: together
// they are twice the last-level cache, so that a call finds little of its own there. One where
// `warm`.
class CacheCopies {
 public:
  CacheCopies(const std::byte* cache, std::size_t bytes, bool warm) {
    constexpr std::size_t most = std::size_t{1} << 30;
    const Machine machine = this_machine();
    const std::size_t wanted = std::min({2 * machine.cache_bytes, most, machine.memory_bytes / 8});
    const std::size_t count = warm ? 1 : std::max<std::size_t>(1, wanted / bytes);
    for (std::size_t i = 0; i < count; ++i) {
      copies_.push_back(support::HostMemory().allocate(bytes));
      std::memcpy(copies_.back().get(), cache, bytes);
    }
  }

  std::byte* next() {
    place_ = (place_ + 1) % copies_.size();
    return copies_[place_].get();
  }

 private:
  std::vector<std::shared_ptr<std::byte>> copies_;
  std::size_t place_ = 0;
};

class CpuTimer : public CallTimer {
 public:
  explicit CpuTimer(const BenchOptions& options) : options_(options) {}

  void time(Call& call, Timing& timing) override {
    CacheCopies caches(call.cache(), call.workload().cache_bytes(), options_.warm);
    const auto timed_call = [&] {
      std::byte* const cache = caches.next();
      const auto start = Clock::now();
      call.run_with_cache(cache);
      return std::chrono::duration<double>(Clock::now() - start).count();
    };
    timed_call();  // threads start, memory is touched
    std::vector<double> seconds;
    double spent = 0;
    while (std::ssize(seconds) < options_.rounds.value_or(5) ||
           spent < options_.seconds_of_calls()) {
      seconds.push_back(timed_call());
      spent += seconds.back();
    }
    timing.seconds = spread_of(seconds);
  }

 private:
  BenchOptions options_;
};

}  // namespace

std::unique_ptr<CallTimer> cpu_timer(const BenchOptions& options) {
  return std::make_unique<CpuTimer>(options);
}

}  // namespace flashmla::tools
