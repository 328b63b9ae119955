// What a replay says in the end: a table for people, JSON for machines.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "tools/files.h"
#include "tools/replay/replay.h"
#include "tools/replay/statistics.h"
#include "tools/replay/trace.h"
#include "tools/replay/verify.h"
#include "tools/roofline.h"

namespace flashmla::tools {

struct Report {
  std::string trace;  // path
  std::string backend;
  ReplayOptions options;
  std::span<const Request> requests;
  Forecast forecast;
  ServerCounts counts;
  double wall_seconds = 0;
  Latency latency;
  Usage usage;
  DecodeWork work;
  Roofline roofline{};
  std::optional<Verdict> verdict;  // none where the check was left out
};

std::string report_table(const Report& report);
Json report_json(const Report& report);

}  // namespace flashmla::tools
