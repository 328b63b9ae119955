// What `flashmla bench` is asked and what it says.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/figures.h"
#include "tools/files.h"
#include "tools/roofline.h"
#include "tools/shapes.h"

namespace flashmla::tools {

struct BenchOptions {
  std::string suite = "dense";
  std::vector<std::string> shapes;
  std::string format = "bf16";
  std::string backend = "cpu";
  int threads = 0;
  double min_time = 0.5;  // seconds
  std::int64_t rounds = 5;
  std::uint64_t seed = 1;
  bool warm = false;
  std::string json;
};

// A shape's measurement beside what the machine could do.
struct Timing {
  Shape shape{};
  std::int64_t tokens = 0;  // that requests attend to, altogether
  Spread seconds;
  double bytes = 0;        // rows attended to, q and out
  double flop = 0;         // 2 · h_q · (d_qk + d_v) for each row that a query token attends to
  double least_bytes = 0;  // seconds that the bytes take at the roofline's rate
  double least_flop = 0;   // the same for flop

  bool memory_bound() const { return least_bytes > least_flop; }
  double roofline_part() const { return std::max(least_bytes, least_flop) / seconds.median; }
};

void print_table(const std::vector<Timing>& timings, const Roofline& roofline);

Json to_json(const std::vector<Timing>& timings, const Roofline& roofline,
             const BenchOptions& options);

}  // namespace flashmla::tools
