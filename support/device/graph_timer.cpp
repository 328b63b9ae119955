#include "support/device/graph_timer.h"

#include <algorithm>
#include <cmath>

#include "support/device/event.h"
#include "support/device/graph.h"

namespace flashmla::support {

namespace {

constexpr std::size_t flush_bytes = std::size_t{512} << 20;  // ten times the L2 cache of an H200
constexpr std::int64_t warm_up = 2;                          // replays that are not counted

}  // namespace

GraphTimer::GraphTimer(Memory& memory) : memory_(memory), flushed_(memory.allocate(flush_bytes)) {
  cudaStream_t stream = nullptr;
  cuda_call(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  stream_ = stream;
}

GraphTimer::~GraphTimer() {
  cudaStreamDestroy(static_cast<cudaStream_t>(stream_));
}

GraphTimes GraphTimer::time(const Launch& work, std::int64_t cold_replays, double hot_seconds) {
  auto* const stream = static_cast<cudaStream_t>(stream_);
  memory_.wait();
  const Graph graph(work, stream);
  const GraphReplay replay(graph);
  GraphTimes times;
  std::vector<Event> events(static_cast<std::size_t>(2 * (cold_replays + warm_up)));
  for (std::size_t i = 0; i < events.size(); i += 2) {
    cuda_call(cudaMemsetAsync(flushed_.get(), 0, flush_bytes, stream), "cudaMemsetAsync");
    events[i].record(stream);
    replay.launch(stream);
    events[i + 1].record(stream);
  }
  for (std::size_t i = 2 * warm_up; i < events.size(); i += 2)
    times.cold.push_back(events[i + 1].seconds_since(events[i]));

  // A hot replay takes no longer than a cold one, so there are enough of them; a second round where
  // there were not.
  const double estimate = std::max(1e-6, std::ranges::min(times.cold));
  std::int64_t replays = std::max<std::int64_t>(20, std::llround(1.2 * hot_seconds / estimate));
  for (;;) {
    for (std::int64_t i = 0; i < replays / 8; ++i)
      replay.launch(stream);
    events[0].record(stream);
    for (std::int64_t i = 0; i < replays; ++i)
      replay.launch(stream);
    events[1].record(stream);
    const double seconds = events[1].seconds_since(events[0]);
    times.hot = seconds / static_cast<double>(replays);
    times.hot_replays = replays;
    if (seconds >= hot_seconds)
      return times;
    replays = std::llround(1.2 * hot_seconds / times.hot) + 1;
  }
}

}  // namespace flashmla::support
