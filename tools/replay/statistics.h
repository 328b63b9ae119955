// The figures of a replay.
#pragma once

#include <cstdint>
#include <span>

#include "tools/replay/replay.h"

namespace flashmla::tools {

// Seconds.
struct Latency {
  double mean = 0;
  double p50 = 0;
  double p99 = 0;
  double longest = 0;
};

// The latency of the steps' schedule and run. The p-th percentile is the smallest latency that at
// least p % of the steps do not exceed. All figures are zero without steps.
Latency latency_of(std::span<const StepRecord> steps);

// What the decode calls moved and computed.
struct DecodeWork {
  double seconds = 0;
  double bytes = 0;  // cached rows once a step and request, queries, out and lse
  double flop = 0;   // 2 · heads · (d_qk + d_v) for each token that a query token attends to
};

DecodeWork decode_work(const ReplayOptions& options, const Forecast& forecast,
                       std::span<const StepRecord> steps);

struct Usage {
  double mean_batch = 0;
  std::int64_t peak_batch = 0;
  double mean_pages = 0;
  std::int64_t peak_pages = 0;
  std::int64_t peak_cached_tokens = 0;
  std::int64_t peak_queue = 0;
};

// Means are over steps.
Usage usage_of(std::span<const StepRecord> steps);

}  // namespace flashmla::tools
