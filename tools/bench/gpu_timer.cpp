#include <fmt/format.h>

#include <stdexcept>

#include "support/device/graph_timer.h"
#include "support/device/host_time.h"
#include "tools/bench/call_timer.h"
#include "tools/figures.h"

namespace flashmla::tools {

namespace {

class GpuTimer : public CallTimer {
 public:
  GpuTimer(const BenchOptions& options, support::Memory& memory)
      : options_(options), timer_(memory) {}

  void time(Call& call, Timing& timing) override {
    const auto run = [&](void* stream) { call.run(stream); };
    const support::GraphTimes times =
        timer_.time(run, options_.cold_replays(), options_.seconds_of_calls());
    if (const std::int32_t status = call.status(); status != 0)
      throw std::runtime_error(
          fmt::format("{}: the status names request {}", text_of(timing.shape), status - 1));
    timing.seconds = spread_of(times.cold);
    GraphFigures& graph = timing.graph.emplace();
    graph.hot = times.hot;
    graph.hot_replays = times.hot_replays;
    if (options_.with_schedule) {
      const support::GraphDifference added = timer_.difference(
          run,
          [&](void* stream) {
            call.schedule(stream);
            call.run(stream);
          },
          4 * options_.seconds_of_calls());
      graph.with_schedule = {timing.seconds.median + added.cold, times.hot + added.hot};
    }
    if (options_.host_time) {
      const support::HostTimes host = support::host_times(run);
      graph.host_seconds = host.call;
      graph.bare_host_seconds = host.launches;
    }
  }

 private:
  BenchOptions options_;
  support::GraphTimer timer_;
};

}  // namespace

std::unique_ptr<CallTimer> gpu_timer(const BenchOptions& options, support::Memory& memory) {
  return std::make_unique<GpuTimer>(options, memory);
}

}  // namespace flashmla::tools
