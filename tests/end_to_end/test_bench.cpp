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

TEST(Bench, SparseShapesHaveExtraListsAndFewValidEntries) {
  const Folder folder;
  const auto bench = [&](const std::string& format, const std::vector<std::string>& words) {
    std::vector<std::string> all{"bench",      "--suite", "sparse",   "--format",
                                 format,       "--warm",  "--rounds", "1",
                                 "--min-time", "0",       "--json",   "-"};
    const CommandResult result = run_command(folder, with(all, words));
    EXPECT_EQ(result.status, 0) << result.err;
    return nlohmann::json::parse(result.out);
  };
  const auto v4 = bench("v4", {"--shape", "1,2,3,128+512", "--shape", "2,1,3,128+64@2"});
  EXPECT_EQ(v4["page_size"], 256);
  EXPECT_EQ(v4["shapes"][0]["shape"], "1,2,3,128+512@64");
  EXPECT_EQ(v4["shapes"][0]["tokens"], 2 * 640);
  EXPECT_EQ(v4["shapes"][1]["bytes"].get<double>(), 2 * 192 * 584.0 + 2.0 * 6 * (512 + 512));
  const auto v32 = bench("v32", {"--shape", "1,1,3,500,valid30", "--shape", "1,1,3,500,scattered40",
                                 "--scales", "absmax"});
  EXPECT_EQ(v32["page_size"], 64);
  EXPECT_EQ(v32["scales"], "absmax");
  EXPECT_EQ(v32["shapes"][0]["tokens"], 30);
  EXPECT_EQ(v32["shapes"][0]["cache_bytes"], 8192 * 656.0);
  EXPECT_EQ(v32["shapes"][1]["flop"].get<double>(), 2.0 * 3 * 40 * (576 + 512));
}

TEST_P(BenchOnGpu, TimesSparseDecodingAndComparesWithTheRecord) {
  const Folder folder;
  const auto bench = [&](const std::string& format, const std::vector<std::string>& shapes) {
    const CommandResult result = run_command(
        folder,
        with({"bench", "--backend", "cuda", "--suite", "sparse", "--format", format, "--json", "-"},
             shapes));
    EXPECT_EQ(result.status, 0) << result.err;
    const auto report = nlohmann::json::parse(result.out);
    for (const auto& shape : report["shapes"]) {
      EXPECT_GE(shape["calls"], 10);
      EXPECT_GT(shape["hot_s"], 1e-6);
    }
    return report["shapes"];
  };
  const auto v32 = bench("v32", {"--shape", "1,1,16,2048", "--shape", "1,1,16,2048,valid256"});
  EXPECT_EQ(v32[0]["cache_bytes"], 32768 * 656.0);
  EXPECT_EQ(v32[1]["tokens"], 256);
  EXPECT_FALSE(v32[1].contains("over_upstream"));
  const auto v4 = bench("v4", {"--shape", "1,1,16,128+512", "--shape", "2,2,64,128+1024@2"});
  // 64 pages of 256 tokens, and as many slots in 8,192 pages of 2; pages are multiples of 576
  // bytes.
  EXPECT_EQ(v4[1]["cache_bytes"], 2 * (64 * 149760.0 + 8192 * 1728.0));
  EXPECT_EQ(bench("bf16", {"--shape", "1,1,16,2048"})[0]["tokens"], 2048);
  const auto report =
      nlohmann::json::parse(run_command(folder, {"bench", "--backend", "cuda", "--suite", "sparse",
                                                 "--shape", "1,1,16,64", "--json", "-"})
                                .out);
  const bool recorded =
      report["machine"]["gpu"]["name"].get<std::string>().find("H200") != std::string::npos;
  EXPECT_EQ(v32[0].contains("over_upstream"), recorded);
  EXPECT_EQ(v4[1].contains("over_upstream"), recorded);
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
