#include "tools/replay/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <limits>
#include <vector>

#include "tools/replay/statistics.h"

namespace flashmla::tools {
namespace {

std::vector<StepRecord> steps_with_latencies(const std::vector<double>& latencies) {
  std::vector<StepRecord> steps;
  for (const double latency : latencies)
    steps.push_back({.batch = 2, .cached_tokens = 10, .queued = 3, .pages = 4, .latency = latency});
  return steps;
}

TEST(Statistics, PercentilesAreLatenciesThatOccurred) {
  std::vector<double> latencies;
  for (int i = 200; i >= 1; --i)
    latencies.push_back(i);
  const Latency latency = latency_of(steps_with_latencies(latencies));
  EXPECT_EQ(latency.p50, 100);
  EXPECT_EQ(latency.p99, 198);
  EXPECT_EQ(latency.longest, 200);
  EXPECT_DOUBLE_EQ(latency.mean, 100.5);
  EXPECT_EQ(latency_of(steps_with_latencies({7})).p99, 7);
  EXPECT_EQ(latency_of({}).p50, 0);
}

// One request of 100 tokens, 4 heads and 2 layers: 100 rows of 1,152 bytes, and for each head a
// query of 576 and an out of 512 elements of 2 bytes, and an lse of 4 bytes.
TEST(Statistics, CountsBytesAndOperations) {
  ReplayOptions options;
  options.heads = 4;
  options.layers = 2;
  const Forecast forecast{
      .steps = 1, .query_tokens = 1, .token_steps = 100, .read_tokens = 100, .max_pages = 2};
  const DecodeWork work = decode_work(options, forecast, steps_with_latencies({0.5, 0.25}));
  EXPECT_EQ(work.seconds, 0.75);
  EXPECT_EQ(work.bytes, 2 * (100 * 1152 + 4 * (1152 + 1024 + 4)));
  EXPECT_EQ(work.flop, 2.0 * 2 * 4 * 100 * (576 + 512));
}

struct Example {
  std::vector<Request> requests = {{0, 10, 5}, {1, 1000, 5}};
  Report report;

  Example() {
    report.trace = "dir/t \"x\".csv";
    report.backend = "cpu";
    report.requests = requests;
    report.options.server.seed = 77;
    report.options.server.pages = 3;
    report.counts.served = 1;
    report.counts.rejected = {1};
    report.counts.generated_tokens = 5;
    report.forecast.token_steps = 65432;
    report.roofline = {1e9, 1e10};
    report.verdict = Verdict{.checked = 80, .errors = {}, .mismatches = {}};
  }
};

TEST(Report, TableNamesTheSeedTheCountsAndWhatWasRejected) {
  const Example example;
  const std::string table = report_table(example.report);
  for (const char* piece : {"seed 77", "1 served, 1 rejected", "65,432",
                            "request 1: 1,000 + 5 tokens need 16 pages, the cache has 3",
                            "80 results against the float64 oracle: all right"})
    EXPECT_THAT(table, ::testing::HasSubstr(piece));
}

TEST(Report, JsonHoldsTheSameFigures) {
  Example example;
  const auto json = Json::parse(json_text(report_json(example.report)));
  EXPECT_EQ(json["trace"], example.report.trace);
  EXPECT_EQ(json["seed"], 77);
  EXPECT_EQ(json["served"], 1);
  EXPECT_EQ(json["rejected"], 1);
  EXPECT_EQ(json["generated_tokens"], 5);
  EXPECT_EQ(json["token_steps"], 65432);
  EXPECT_EQ(json["check"]["samples"], 80);
  EXPECT_EQ(json["check"]["passed"], true);
  example.report.verdict.reset();
  EXPECT_TRUE(Json::parse(json_text(report_json(example.report)))["check"].is_null());
}

TEST(Report, MismatchesAreShown) {
  Example example;
  example.report.verdict->mismatches = {"step 3, request 0, head 1"};
  example.report.verdict->errors.out_row.worst = std::numeric_limits<double>::infinity();
  EXPECT_THAT(report_table(example.report), ::testing::HasSubstr("WRONG"));
  const auto json = Json::parse(json_text(report_json(example.report)));
  EXPECT_EQ(json["check"]["passed"], false);
  EXPECT_EQ(json["check"]["mismatches"][0], "step 3, request 0, head 1");
}

}  // namespace
}  // namespace flashmla::tools
