// Times work on a GPU as serving engines run it: captured in a CUDA graph and replayed. Built where
// the CUDA toolkit is.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "support/memory.h"

namespace flashmla::support {

// Puts its work on the stream (a cudaStream_t).
using Launch = std::function<void(void* stream)>;

struct GraphTimes {
  std::vector<double> cold;  // seconds of single replays, each after the L2 cache was flushed
  double hot = 0;            // mean seconds of back-to-back replays
  std::int64_t hot_replays = 0;
};

class GraphReplay;

// By how many seconds one piece of work takes longer than another.
struct GraphDifference {
  double cold = 0;
  double hot = 0;
};

class GraphTimer {
 public:
  // Works on the current device and takes 512 MB of its memory.
  explicit GraphTimer(Memory& memory);
  ~GraphTimer();
  GraphTimer(const GraphTimer&) = delete;
  GraphTimer& operator=(const GraphTimer&) = delete;

  // Times `cold_replays` single replays after a rest of 0.1 s, then replays back to back for at
  // least `hot_seconds`. Cold replays wait for each other, because the card soon meets its power
  // limit in a queue of long ones. The figures are of the kernels that `work` launches and of
  // nothing else.
  GraphTimes time(const Launch& work, std::int64_t cold_replays, double hot_seconds);

  // By how much `more` takes longer than `less`: the median over rounds. In each round both are
  // replayed in turns, cold and then hot for `hot_seconds` in all, because the clock of a GPU
  // drifts by more than a short kernel takes.
  GraphDifference difference(const Launch& less, const Launch& more, double hot_seconds);

 private:
  double cold_seconds(const GraphReplay& replay) const;

  Memory& memory_;
  std::shared_ptr<std::byte> flushed_;
  void* stream_ = nullptr;
};

}  // namespace flashmla::support
