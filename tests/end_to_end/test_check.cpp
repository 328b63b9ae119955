#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/end_to_end/command.h"
#include "tests/end_to_end/each_backend.h"

namespace flashmla::tests {
namespace {

class CheckOn : public EachBackend {};

INSTANTIATE_TEST_SUITE_P(Check, CheckOn, every_backend(), backend_name);

TEST_P(CheckOn, TheTinySuitePasses) {
  const Folder folder;
  const CommandResult result = run_command(
      folder, {"check", "--size", "tiny", "--backend", backend(), "--json", "report.json"});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  const auto report = nlohmann::json::parse(contents(folder.file("report.json")));
  EXPECT_GE(report["cases"].get<int>(), 100);
  EXPECT_EQ(report["failures"], 0);
  EXPECT_TRUE(report.contains("seed"));
}

// Each suite has enough rows of cut requests for the pooled rule.
TEST_P(CheckOn, EverySuitePoolsTheErrorsOfCutRequests) {
  const Folder folder;
  for (const char* suite : {"dense", "sparse", "prefill"}) {
    const CommandResult result = run_command(folder, {"check", "--suite", suite, "--size", "tiny",
                                                      "--backend", backend(), "--json", "-"});
    if (result.status == 3)
      continue;  // the backend serves no such problem
    EXPECT_EQ(result.status, 0) << result.out << result.err;
    const auto report = nlohmann::json::parse(result.out);
    EXPECT_EQ(report["suite_faults"].size(), 0u);
    int judged = 0;
    for (const auto& pool : report["pooled_errors"]) {
      EXPECT_EQ(pool["suite"], suite);
      EXPECT_EQ(pool["limit"], 1.08);
      if (!pool["judged"].get<bool>() ||
          pool["pool"].get<std::string>().find("cut in") == std::string::npos)
        continue;
      ++judged;
      EXPECT_GE(pool["rows"].get<int>(), 200);
      EXPECT_LE(pool["ratio"].get<double>(), 1.08);
      EXPECT_GT(pool["ratio"].get<double>(), 0.5);
    }
    EXPECT_GE(judged, std::string(suite) == "dense" ? 2 : 1) << result.out;
  }
}

TEST(Check, OneCaseAlone) {
  const Folder folder;
  const CommandResult result = run_command(
      folder, {"check", "--size", "tiny", "--seed", "3", "--case", "7", "--json", "report.json"});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  const auto report = nlohmann::json::parse(contents(folder.file("report.json")));
  EXPECT_EQ(report["cases"], 1);
  EXPECT_EQ(report["seed"], 3);
}

// Some dense cases use append() and merge().
TEST_P(CheckOn, TheSanitizerSuitesPass) {
  const Folder folder;
  for (const char* suite : {"dense", "sparse"}) {
    const CommandResult result =
        run_command(folder, {"check", "--suite", suite, "--size", "sanitizer", "--backend",
                             backend(), "--json", "report.json"});
    if (result.status == 3)
      continue;  // the backend serves no such problem
    EXPECT_EQ(result.status, 0) << result.out << result.err;
    const auto report = nlohmann::json::parse(contents(folder.file("report.json")));
    EXPECT_GE(report["cases"].get<int>(), 60);
    EXPECT_GT(report["cases_with_option"]["split"], 0);
  }
}

TEST(Check, ShardsAreTheSuite) {
  const Folder folder;
  int cases = 0;
  int causal = 0;
  const auto check = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words{"check", "--size", "tiny", "--seed", "9", "--json", "-"};
    words.insert(words.end(), more.begin(), more.end());
    const CommandResult result = run_command(folder, words);
    EXPECT_EQ(result.status, 0) << result.err;
    return nlohmann::json::parse(result.out);
  };
  for (const char* shard : {"1/4", "2/4", "3/4", "4/4"}) {
    const auto report = check({"--shard", shard, "--jobs", "2"});
    cases += report["cases"].get<int>();
    causal += report["cases_with_option"]["causal"].get<int>();
  }
  const auto whole = check({});
  EXPECT_EQ(cases, whole["cases"]);
  EXPECT_EQ(causal, whole["cases_with_option"]["causal"]);
  for (const char* shard :
       {"0/4", "5/4", "1", "1/", "1/4x", "1x4", "a/b", "1/99999999999999999999"})
    EXPECT_EQ(run_command(folder, {"check", "--shard", shard}).status, 2) << shard;
}

TEST(Check, ASuiteThatHasNoSuchSizeIsBadInput) {
  const Folder folder;
  const CommandResult result =
      run_command(folder, {"check", "--suite", "prefill", "--size", "sanitizer"});
  EXPECT_EQ(result.status, 2);
}

TEST(Check, JsonToStandardOutputIsAlone) {
  const Folder folder;
  const CommandResult result =
      run_command(folder, {"check", "--size", "tiny", "--cases", "3", "--json", "-"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(nlohmann::json::parse(result.out)["cases"], 3);
  EXPECT_THAT(folder.names(), testing::IsEmpty());
}

}  // namespace
}  // namespace flashmla::tests
