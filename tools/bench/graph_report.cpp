#include "tools/bench/graph_report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <functional>
#include <limits>

namespace flashmla::tools {

namespace {

using Theirs = std::function<std::optional<CallTime>(const Recorded&)>;

Comparison comparison_with(const std::vector<Timing>& timings, const Theirs& theirs) {
  std::vector<double> cold;
  std::vector<double> hot;
  constexpr double most = std::numeric_limits<double>::infinity();
  Comparison comparison{.shapes = 0, .mean = {}, .least = {most, most}};
  for (const Timing& timing : timings) {
    if (!timing.graph || !timing.graph->recorded)
      continue;
    const std::optional<CallTime> other = theirs(*timing.graph->recorded);
    if (!other)
      continue;
    const CallTime ratio = speedup(*other, timing.call_time());
    cold.push_back(ratio.cold);
    hot.push_back(ratio.hot);
    comparison.least = {std::min(comparison.least.cold, ratio.cold),
                        std::min(comparison.least.hot, ratio.hot)};
  }
  comparison.shapes = std::ssize(cold);
  comparison.mean = {geometric_mean(cold), geometric_mean(hot)};
  return comparison;
}

std::string micros(double seconds) {
  return fmt::format("{:.1f}", seconds * 1e6);
}

// The times of another library and the ratios to ours, cold and hot; blanks where it has none.
std::string beside(const std::optional<CallTime>& theirs, const CallTime& ours) {
  if (!theirs)
    return fmt::format("{:>8} {:>8} {:>5} {:>5}", "", "", "", "");
  const CallTime ratio = speedup(*theirs, ours);
  return fmt::format("{:>8} {:>8} {:>5.2f} {:>5.2f}", micros(theirs->cold), micros(theirs->hot),
                     ratio.cold, ratio.hot);
}

std::string best_names(const Recorded& recorded) {
  return recorded.best_cold == recorded.best_hot
             ? recorded.best_cold
             : fmt::format("{}, {}", recorded.best_cold, recorded.best_hot);
}

std::string row_of(const Timing& timing, bool with_records) {
  const CallTime ours = timing.call_time();
  std::string row = fmt::format("{:<29} {:>8} {:>8} {:>8} {:>6.0f} {:>5.0f} {:>6.1f}",
                                text_of(timing.shape), timing.tokens, micros(ours.cold),
                                micros(ours.hot), timing.bytes / ours.cold * 1e-9,
                                timing.flop / ours.cold * 1e-12, timing.roofline_part() * 100);
  if (!with_records || !timing.graph || !timing.graph->recorded)
    return row + "\n";
  const Recorded& recorded = *timing.graph->recorded;
  return fmt::format("{} | {} | {}  {}\n", row, beside(recorded.upstream, ours),
                     beside(recorded.best, ours), best_names(recorded));
}

std::string heading(bool with_records) {
  std::string line = fmt::format("{:<29} {:>8} {:>8} {:>8} {:>6} {:>5} {:>6}", "b,s_q,h_q,tokens",
                                 "tokens", "cold us", "hot us", "GB/s", "TF/s", "% roof");
  if (with_records)
    line += fmt::format(" | {:>8} {:>8} {:>5} {:>5} | {:>8} {:>8} {:>5} {:>5}  {}", "upstream",
                        "hot", "cold", "hot", "best", "hot", "cold", "hot", "whose");
  return line + "\n";
}

std::string line_of(const char* whom, const Comparison& comparison) {
  if (comparison.shapes == 0)
    return {};
  return fmt::format(
      "over recorded {}: geometric mean of {} shapes {:.3f} cold, {:.3f} hot; least {:.2f}, "
      "{:.2f}\n",
      whom, comparison.shapes, comparison.mean.cold, comparison.mean.hot, comparison.least.cold,
      comparison.least.hot);
}

// The lines that --with-schedule and --host-time asked for.
std::string extra_lines(const Timing& timing) {
  std::string lines;
  if (!timing.graph)
    return lines;
  const GraphFigures& graph = *timing.graph;
  const CallTime ours = timing.call_time();
  if (const auto& both = graph.with_schedule)
    lines += fmt::format(
        "{}: with schedule in the graph {} us cold, {} us hot; it adds {:.2f} us, {:.2f} us\n",
        text_of(timing.shape), micros(both->cold), micros(both->hot),
        (both->cold - ours.cold) * 1e6, (both->hot - ours.hot) * 1e6);
  if (graph.host_seconds && graph.bare_host_seconds)
    lines += fmt::format("{}: host time of run {:.2f} us, of its launches alone {:.2f} us\n",
                         text_of(timing.shape), *graph.host_seconds * 1e6,
                         *graph.bare_host_seconds * 1e6);
  return lines;
}

Json call_json(const CallTime& time) {
  return {{"cold_s", time.cold}, {"hot_s", time.hot}};
}

Json ratio_json(const CallTime& ratio) {
  return {{"cold", ratio.cold}, {"hot", ratio.hot}};
}

}  // namespace

CallTime speedup(const CallTime& theirs, const CallTime& ours) {
  return {theirs.cold / ours.cold, theirs.hot / ours.hot};
}

Comparison over_upstream(const std::vector<Timing>& timings) {
  return comparison_with(timings, [](const Recorded& recorded) { return recorded.upstream; });
}

Comparison over_best(const std::vector<Timing>& timings) {
  return comparison_with(timings,
                         [](const Recorded& recorded) { return std::optional(recorded.best); });
}

std::string graph_table(const std::vector<Timing>& timings, const Roofline& roofline,
                        const support::GpuFacts& gpu, const Recordings& recordings) {
  const bool with_records = over_best(timings).shapes > 0;
  std::string table =
      fmt::format("{}, driver {}; roofline: {:.0f} GB/s read, {:.0f} TFLOP/s\n", gpu.name,
                  gpu.driver, roofline.bytes_per_second * 1e-9, roofline.flop_per_second * 1e-12);
  if (with_records)
    table += fmt::format("recorded: {}\n", fmt::join(recordings.sources(), ", "));
  table += fmt::format("\n{}", heading(with_records));
  for (const Timing& timing : timings)
    table += row_of(timing, with_records);
  table += fmt::format("\n{}", line_of("upstream", over_upstream(timings))) +
           line_of("best of all libraries", over_best(timings));
  for (const Timing& timing : timings)
    table += extra_lines(timing);
  return table;
}

void add_graph_members(Json& entry, const Timing& timing) {
  if (!timing.graph)
    return;
  const GraphFigures& graph = *timing.graph;
  const CallTime ours = timing.call_time();
  entry["cold_s"] = ours.cold;
  entry["hot_s"] = ours.hot;
  entry["hot_replays"] = graph.hot_replays;
  if (graph.with_schedule)
    entry["with_schedule"] = call_json(*graph.with_schedule);
  if (graph.host_seconds && graph.bare_host_seconds)
    entry["host"] = {{"run_s", *graph.host_seconds}, {"launches_s", *graph.bare_host_seconds}};
  if (!graph.recorded)
    return;
  const Recorded& recorded = *graph.recorded;
  if (recorded.upstream) {
    entry["recorded_upstream"] = call_json(*recorded.upstream);
    entry["over_upstream"] = ratio_json(speedup(*recorded.upstream, ours));
  }
  entry["recorded_best"] = call_json(recorded.best);
  entry["recorded_best"]["libraries"] = {recorded.best_cold, recorded.best_hot};
  entry["over_best"] = ratio_json(speedup(recorded.best, ours));
}

Json comparison_json(const std::vector<Timing>& timings) {
  Json json;
  const auto add = [&](const char* whom, const Comparison& comparison) {
    if (comparison.shapes > 0)
      json[whom] = {{"shapes", comparison.shapes},
                    {"geometric_mean", ratio_json(comparison.mean)},
                    {"least", ratio_json(comparison.least)}};
  };
  add("over_upstream", over_upstream(timings));
  add("over_best", over_best(timings));
  return json;
}

}  // namespace flashmla::tools
