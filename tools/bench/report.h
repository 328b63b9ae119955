// What `flashmla bench` says.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench/options.h"
#include "tools/bench/recorded.h"
#include "tools/figures.h"
#include "tools/files.h"
#include "tools/roofline.h"
#include "tools/shapes.h"

namespace flashmla::tools {

// What graphs on a GPU add to a measurement.
struct GraphFigures {
  double hot = 0;  // mean seconds of back-to-back replays
  std::int64_t hot_replays = 0;
  std::optional<CallTime> with_schedule;    // of run, and what schedule adds in the same graph
  std::optional<double> host_seconds;       // of a call of run() on the host
  std::optional<double> bare_host_seconds;  // of launching its kernels alone
  std::optional<Recorded> recorded;
};

// A shape's measurement beside what the machine could do.
struct Timing {
  Shape shape{};
  std::int64_t tokens = 0;  // cached ones that a call reads, of all requests
  double cache_bytes = 0;   // of both caches
  Spread seconds;           // of single calls; on a GPU of cold replays
  double bytes = 0;         // that a call moves, and
  double flop = 0;          // what it computes: as Workload counts them
  double min_bytes = 0;     // seconds that the bytes take at the roofline's rate
  double min_flop = 0;      // the same for flop
  std::optional<GraphFigures> graph;

  bool memory_bound() const { return min_bytes > min_flop; }
  double roofline_part() const { return std::max(min_bytes, min_flop) / seconds.median; }
  CallTime call_time() const { return {seconds.median, graph ? graph->hot : seconds.median}; }
};

void print_table(const std::vector<Timing>& timings, const Roofline& roofline);

Json to_json(const std::vector<Timing>& timings, const Roofline& roofline,
             const BenchOptions& options);

}  // namespace flashmla::tools
