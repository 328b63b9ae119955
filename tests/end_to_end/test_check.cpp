#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/end_to_end/command.h"

namespace flashmla::tests {
namespace {

TEST(Check, TheTinySuitePasses) {
  const Folder folder;
  const CommandResult result =
      run_command(folder, {"check", "--size", "tiny", "--json", "report.json"});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  const auto report = nlohmann::json::parse(contents(folder.file("report.json")));
  EXPECT_GE(report["cases"].get<int>(), 100);
  EXPECT_EQ(report["failures"], 0);
  EXPECT_TRUE(report.contains("seed"));
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
