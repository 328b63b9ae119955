#include "tools/bench/graph_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace flashmla::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

Timing timing_of(double cold, double hot, std::optional<Recorded> recorded) {
  Timing timing;
  timing.shape = {4, 1, 128, 8192};
  timing.tokens = 32768;
  timing.seconds = {.median = cold, .count = 10};
  timing.bytes = 1e6;
  timing.flop = 1e9;
  timing.min_bytes = cold / 2;
  GraphFigures& graph = timing.graph.emplace();
  graph.hot = hot;
  graph.recorded = std::move(recorded);
  return timing;
}

const Recorded twice_and_once{.upstream = CallTime{20e-6, 16e-6},
                              .best = {10e-6, 12e-6},
                              .best_cold = "fa3",
                              .best_hot = "flashinfer"};

TEST(GraphReport, RatiosAreTheirsOverOurs) {
  const CallTime ratio = speedup({3e-6, 5e-6}, {2e-6, 4e-6});
  EXPECT_DOUBLE_EQ(ratio.cold, 1.5);
  EXPECT_DOUBLE_EQ(ratio.hot, 1.25);
}

TEST(GraphReport, MeansAndLeastsAreOverShapesWithARecord) {
  const std::vector<Timing> timings{timing_of(10e-6, 8e-6, twice_and_once),
                                    timing_of(40e-6, 8e-6, twice_and_once),
                                    timing_of(1e-6, 1e-6, std::nullopt)};
  const Comparison upstream = over_upstream(timings);
  EXPECT_EQ(upstream.shapes, 2);
  EXPECT_DOUBLE_EQ(upstream.mean.cold, 1);  // 2 and 1/2
  EXPECT_DOUBLE_EQ(upstream.mean.hot, 2);
  EXPECT_DOUBLE_EQ(upstream.least.cold, 0.5);
  const Comparison best = over_best(timings);
  EXPECT_DOUBLE_EQ(best.mean.cold, 0.5);
  EXPECT_DOUBLE_EQ(best.mean.hot, 1.5);
  EXPECT_EQ(over_best({timing_of(1e-6, 1e-6, std::nullopt)}).shapes, 0);
}

TEST(GraphReport, TheTableHasTimesRatiosAndMeans) {
  Recordings recordings;
  const Roofline roofline{.bytes_per_second = 4e12, .flop_per_second = 800e12};
  const support::GpuFacts gpu{.name = "NVIDIA H200", .driver = "1.2"};
  Timing timing = timing_of(10e-6, 8e-6, twice_and_once);
  timing.graph->with_schedule = CallTime{13e-6, 11e-6};
  const std::string table = graph_table({timing}, roofline, gpu, recordings);
  for (const char* part :
       {"NVIDIA H200", "4,1,128,8192", "10.0", "8.0", "50.0", "2.00", "1.50", "fa3, flashinfer",
        "geometric mean of 1 shapes", "it adds 3.00 us, 3.00 us"})
    EXPECT_THAT(table, HasSubstr(part));
  EXPECT_THAT(graph_table({timing_of(10e-6, 8e-6, std::nullopt)}, roofline, gpu, recordings),
              Not(HasSubstr("upstream")));
}

TEST(GraphReport, JsonHasTheSame) {
  Timing timing = timing_of(10e-6, 8e-6, twice_and_once);
  timing.graph->host_seconds = 5e-6;
  timing.graph->bare_host_seconds = 4e-6;
  Json entry;
  add_graph_members(entry, timing);
  EXPECT_EQ(entry["cold_s"], 10e-6);
  EXPECT_EQ(entry["hot_s"], 8e-6);
  EXPECT_DOUBLE_EQ(entry["over_upstream"]["hot"], 2);
  EXPECT_DOUBLE_EQ(entry["over_best"]["cold"], 1);
  EXPECT_EQ(entry["recorded_best"]["libraries"][1], "flashinfer");
  EXPECT_EQ(entry["host"]["run_s"], 5e-6);
  EXPECT_EQ(comparison_json({timing})["over_best"]["shapes"], 1);
  EXPECT_TRUE(comparison_json({}).is_null());
}

}  // namespace
}  // namespace flashmla::tools
