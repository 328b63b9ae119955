// The part of `flashmla bench`'s report that is about calls in CUDA graphs, and how they compare
// with recorded ones.
#pragma once

#include <string>
#include <vector>

#include "support/device/gpu_facts.h"
#include "tools/bench/recorded.h"
#include "tools/bench/report.h"

namespace flashmla::tools {

// How many times as fast as theirs ours is: cold and hot.
CallTime speedup(const CallTime& theirs, const CallTime& ours);

// Over the shapes that have a record.
struct Comparison {
  std::int64_t shapes = 0;
  CallTime mean;   // geometric, of the speedups
  CallTime least;  // of them
};

Comparison over_upstream(const std::vector<Timing>& timings);
Comparison over_best(const std::vector<Timing>& timings);

std::string graph_table(const std::vector<Timing>& timings, const Roofline& roofline,
                        const support::GpuFacts& gpu, const Recordings& recordings);

// Add the figures of graphs to a shape's entry, and make the report's comparison with the records.
void add_graph_members(Json& entry, const Timing& timing);
Json comparison_json(const std::vector<Timing>& timings);

}  // namespace flashmla::tools
