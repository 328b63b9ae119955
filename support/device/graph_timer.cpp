#include "support/device/graph_timer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "support/device/event.h"
#include "support/device/graph.h"
#include "support/median.h"

namespace flashmla::support {

namespace {

constexpr std::size_t flush_bytes = std::size_t{512} << 20;  // ten times the L2 cache of an H200
constexpr std::int64_t warm_up = 2;                          // replays that are not counted
constexpr std::chrono::milliseconds rest{100};

// The mean seconds of back-to-back replays.
double hot_seconds_of(const GraphReplay& replay, std::int64_t replays, cudaStream_t stream) {
  const Event begin;
  const Event end;
  for (std::int64_t i = 0; i < replays / 8; ++i)
    replay.launch(stream);
  begin.record(stream);
  for (std::int64_t i = 0; i < replays; ++i)
    replay.launch(stream);
  end.record(stream);
  return end.seconds_since(begin) / static_cast<double>(replays);
}

}  // namespace

GraphTimer::GraphTimer(Memory& memory) : memory_(memory), flushed_(memory.allocate(flush_bytes)) {
  cudaStream_t stream = nullptr;
  cuda_call(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  stream_ = stream;
}

GraphTimer::~GraphTimer() {
  cudaStreamDestroy(static_cast<cudaStream_t>(stream_));
}

double GraphTimer::cold_seconds(const GraphReplay& replay) const {
  auto* const stream = static_cast<cudaStream_t>(stream_);
  const Event begin;
  const Event end;
  cuda_call(cudaMemsetAsync(flushed_.get(), 0, flush_bytes, stream), "cudaMemsetAsync");
  begin.record(stream);
  replay.launch(stream);
  end.record(stream);
  return end.seconds_since(begin);
}

GraphTimes GraphTimer::time(const Launch& work, std::int64_t cold_replays, double hot_seconds) {
  auto* const stream = static_cast<cudaStream_t>(stream_);
  memory_.wait();
  const Graph graph(work, stream);
  const GraphReplay replay(graph);
  GraphTimes times;
  std::this_thread::sleep_for(rest);
  for (std::int64_t i = 0; i < warm_up; ++i)
    cold_seconds(replay);
  for (std::int64_t i = 0; i < cold_replays; ++i)
    times.cold.push_back(cold_seconds(replay));

  // A hot replay takes no longer than a cold one, so there are enough of them; a second round where
  // there were not.
  const double estimate = std::max(1e-6, std::ranges::min(times.cold));
  std::int64_t replays = std::max<std::int64_t>(20, std::llround(1.2 * hot_seconds / estimate));
  for (;;) {
    times.hot = hot_seconds_of(replay, replays, stream);
    times.hot_replays = replays;
    if (times.hot * static_cast<double>(replays) >= hot_seconds)
      return times;
    replays = std::llround(1.2 * hot_seconds / times.hot) + 1;
  }
}

GraphDifference GraphTimer::difference(const Launch& less, const Launch& more, double hot_seconds) {
  constexpr int rounds = 9;
  auto* const stream = static_cast<cudaStream_t>(stream_);
  memory_.wait();
  const Graph graphs[] = {Graph(less, stream), Graph(more, stream)};
  const GraphReplay replays[] = {GraphReplay(graphs[0]), GraphReplay(graphs[1])};
  for (const GraphReplay& replay : replays)
    cold_seconds(replay);
  const double estimate = std::max(1e-6, cold_seconds(replays[1]));
  const std::int64_t count =
      std::max<std::int64_t>(20, std::llround(hot_seconds / (2 * rounds) / estimate));
  std::vector<double> cold;
  std::vector<double> hot;
  for (int round = 0; round < rounds; ++round) {
    // The two take turns at being first.
    double cold_single[2]{};
    double hot_mean[2]{};
    for (const int turn : {round % 2, 1 - round % 2})
      cold_single[turn] = cold_seconds(replays[turn]);
    for (const int turn : {round % 2, 1 - round % 2})
      hot_mean[turn] = hot_seconds_of(replays[turn], count, stream);
    cold.push_back(cold_single[1] - cold_single[0]);
    hot.push_back(hot_mean[1] - hot_mean[0]);
  }
  return {median(cold), median(hot)};
}

}  // namespace flashmla::support
