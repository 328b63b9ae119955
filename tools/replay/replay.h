// A whole replay: serve the trace with continuous batching, compute every step, keep samples for
// the check.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "tools/replay/engine.h"
#include "tools/replay/sampling.h"
#include "tools/replay/server.h"
#include "tools/replay/trace.h"

namespace flashmla::tools {

struct ReplayOptions {
  ServerOptions server;
  KvFormat format = KvFormat::bf16;
  std::int64_t heads = 16;
  std::int64_t layers = 1;
  std::int64_t samples = 1000;
};

// What is known of a replay before anything is computed. A query token attends to the tokens before
// it and to itself, over an FP8 cache to some of them (selection.h).
struct Forecast {
  std::int64_t steps = 0;
  std::int64_t query_tokens = 0;  // Σ over steps of requests · drafts
  std::int64_t token_steps = 0;   // Σ over query tokens of the tokens attended to
  std::int64_t read_tokens = 0;   // Σ over steps of the rows read; drafts share plain rows
  std::int64_t max_pages = 0;     // pages of the largest request that is served
};

// The measurements of one decode step.
struct StepRecord {
  double clock = 0;                // seconds of the virtual clock when it began
  std::int64_t batch = 0;          // requests
  std::int64_t cached_tokens = 0;  // rows in the cache of these requests, drafts included
  std::int64_t queued = 0;         // requests that wait
  std::int64_t pages = 0;          // reserved
  double latency = 0;              // seconds of schedule and run, all layers
};

struct Served {
  ServerCounts counts;
  std::vector<StepRecord> steps;
  std::vector<Sample> samples;
  double wall_seconds = 0;  // of serving: making rows and queries, append, schedule, run
};

Forecast forecast_of(std::span<const Request> requests, const ServerOptions& options,
                     KvFormat format = KvFormat::bf16);

EngineOptions engine_options(const ReplayOptions& options, const Forecast& forecast,
                             const Device& device = Device{});

// `advance` is told the token-steps computed since it was last called.
Served serve(std::span<const Request> requests, const ReplayOptions& options,
             const Forecast& forecast, Engine& engine,
             const std::function<void(std::int64_t)>& advance);

}  // namespace flashmla::tools
