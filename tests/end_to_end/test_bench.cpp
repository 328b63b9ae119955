#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/end_to_end/command.h"
#include "tests/end_to_end/each_backend.h"

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

class BenchOnGpu : public EachBackend {};

INSTANTIATE_TEST_SUITE_P(Bench, BenchOnGpu, testing::Values("cuda"), backend_name);

TEST_P(BenchOnGpu, TimesColdAndHotAndComparesWithTheRecord) {
  const Folder folder;
  const CommandResult result = run_command(
      folder, {"bench", "--backend", "cuda", "--shape", "1,1,16,65536,varlen", "--shape",
               "3,2,8,100,varlen,causal", "--with-schedule", "--host-time", "--json", "-"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto report = nlohmann::json::parse(result.out);
  EXPECT_FALSE(report["machine"]["gpu"]["driver"].get<std::string>().empty());
  ASSERT_EQ(report["shapes"].size(), 2u);
  for (const auto& shape : report["shapes"]) {
    EXPECT_GE(shape["calls"], 10);
    EXPECT_GT(shape["hot_s"], 1e-6);
    EXPECT_LT(shape["hot_s"], shape["cold_s"]);
    EXPECT_GT(shape["with_schedule"]["hot_s"], shape["hot_s"]);
    EXPECT_GT(shape["host"]["run_s"], shape["host"]["launches_s"]);
  }
  EXPECT_EQ(report["shapes"][0]["tokens"], 59511);
  EXPECT_TRUE(report["shapes"][0].contains("over_upstream"));
  EXPECT_FALSE(report["shapes"][1].contains("over_upstream"));
}

TEST(Bench, OptionsOfAnotherBackendAreBadInput) {
  const Folder folder;
  for (const char* option : {"--with-schedule", "--host-time"}) {
    const CommandResult result = run_command(folder, with(quick, {option}));
    EXPECT_EQ(result.status, 2);
    EXPECT_TRUE(is_one_line(result.err, "flashmla bench: ")) << result.err;
  }
}

}  // namespace
}  // namespace flashmla::tests
