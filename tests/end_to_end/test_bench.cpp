#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/end_to_end/command.h"

namespace flashmla::tests {
namespace {

using testing::HasSubstr;

const std::vector<std::string> quick{
    "bench",    "--shape", "2,1,4,200",  "--shape", "3,2,8,100,varlen,causal",
    "--rounds", "3",       "--min-time", "0",       "--warm"};

std::vector<std::string> with(std::vector<std::string> words,
                              const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Bench, JsonCountsWhatACallMovesAndComputes) {
  const Folder folder;
  const CommandResult result = run_command(folder, with(quick, {"--json", "-"}));
  ASSERT_EQ(result.status, 0) << result.err;
  const auto report = nlohmann::json::parse(result.out);
  for (const char* member : {"version", "date", "machine", "roofline", "shapes"})
    EXPECT_TRUE(report.contains(member)) << member;
  ASSERT_EQ(report["shapes"].size(), 2u);
  const auto& shape = report["shapes"][0];
  EXPECT_EQ(shape["shape"], "2,1,4,200");
  // 400 cached tokens; 8 rows of q and out.
  EXPECT_EQ(shape["bytes"].get<double>(), 2.0 * (400 * 576 + 8 * (576 + 512)));
  EXPECT_EQ(shape["flop"].get<double>(), 2.0 * 4 * 400 * (576 + 512));
  for (const auto& timed : report["shapes"]) {
    EXPECT_GE(timed["calls"].get<int>(), 3);
    EXPECT_GT(timed["min_s"].get<double>(), 0);
    EXPECT_LE(timed["min_s"].get<double>(), timed["median_s"].get<double>());
    EXPECT_LE(timed["median_s"].get<double>(), timed["max_s"].get<double>());
    const double memory =
        timed["bytes"].get<double>() / report["roofline"]["bytes_per_second"].get<double>();
    const double compute =
        timed["flop"].get<double>() / report["roofline"]["flop_per_second"].get<double>();
    EXPECT_EQ(timed["bound"], memory > compute ? "memory" : "compute");
    EXPECT_NEAR(timed["roofline_part"].get<double>(),
                std::max(memory, compute) / timed["median_s"].get<double>(), 1e-9);
  }
}

TEST(Bench, TheTableHasARowForEachShape) {
  const Folder folder;
  const CommandResult result = run_command(folder, with(quick, {"--json", "bench.json"}));
  ASSERT_EQ(result.status, 0) << result.err;
  for (const char* part : {"roofline", "2,1,4,200", "3,2,8,100,varlen,causal", "median", "GB/s"})
    EXPECT_THAT(result.out, HasSubstr(part));
  EXPECT_EQ(nlohmann::json::parse(contents(folder.file("bench.json")))["shapes"].size(), 2u);
}

}  // namespace
}  // namespace flashmla::tests
