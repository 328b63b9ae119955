#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "support/random.h"
#include "tests/end_to_end/command.h"
#include "tests/end_to_end/each_backend.h"

namespace flashmla::tests {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* header = "arrival_s,context_tokens,generated_tokens\n";

void write(const Folder& folder, const std::string& text) {
  std::ofstream(folder.file("trace.csv"), std::ios::binary) << text;
}

std::string random_bytes(std::uint64_t seed) {
  support::Random random(seed);
  std::string bytes(static_cast<std::size_t>(random.between(1, 5000)), '\0');
  for (char& byte : bytes)
    byte = static_cast<char>(random.between(0, 255));
  return bytes;
}

TEST(Replay, BadTracesAreOneLineAndNothingIsWritten) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const std::string h = header;
  const std::vector<std::string> traces = {
      "",
      h,
      "arrival_s,context_tokens\n0,5\n",
      h + "0,5,-1\n",
      h + "-1,5,1\n",
      h + "0,five,1\n",
      h + "nan,5,1\n",
      h + "inf,5,1\n",
      h + "0,nan,1\n",
      h + "0,1000000000000,1\n",
      h + "0,2147483647,1\n",
      h + "0,5,1\n1,5\n",
      h + "0,5,1\n1,5,\n",
      random_bytes(seed),
  };
  for (const std::string& trace : traces) {
    SCOPED_TRACE(testing::PrintToString(trace.substr(0, 200)));
    const Folder folder;
    write(folder, trace);
    const CommandResult result =
        run_command(folder, {"replay", "trace.csv", "--json", "report.json"});
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.out, testing::IsEmpty());
    EXPECT_TRUE(is_one_line(result.err, "flashmla replay: ")) << result.err;
    EXPECT_THAT(folder.names(), ElementsAre("trace.csv"));
  }
}

class ReplayOn : public EachBackend {};

INSTANTIATE_TEST_SUITE_P(Replay, ReplayOn, every_backend(), backend_name);

TEST_P(ReplayOn, ASmallTraceIsServedAndChecked) {
  const Folder folder;
  write(folder, std::string(header) + "0,100,5\n0.01,64,3\n0.02,7,1\n");
  const CommandResult result =
      run_command(folder, {"replay", "trace.csv", "--layers", "2", "--speculative", "2", "--svg",
                           "picture.svg", "--json", "report.json", "--backend", backend()});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_THAT(contents(folder.file("picture.svg")), HasSubstr("<svg"));
  const auto report = nlohmann::json::parse(contents(folder.file("report.json")));
  EXPECT_GT(report["check"]["samples"], 0);
  EXPECT_EQ(report["check"]["passed"], true);
  EXPECT_GT(report["step_latency_ms"]["p50"], 0);
}

// The second request is longer than the lists of either format.
TEST_P(ReplayOn, TracesOverFp8CachesAreServedAndChecked) {
  for (const std::string format : {"v32", "v4"}) {
    SCOPED_TRACE(format);
    const Folder folder;
    write(folder, std::string(header) + "0,100,9\n0.01,2300,4\n0.02,7,1\n");
    const CommandResult result =
        run_command(folder, {"replay", "trace.csv", "--layers", "2", "--speculative", "2",
                             "--no-svg", "--format", format, "--samples", "40", "--json", "-",
                             "--max-batch", "3", "--backend", backend()});
    ASSERT_EQ(result.status, 0) << result.out << result.err;
    const auto report = nlohmann::json::parse(result.out);
    EXPECT_EQ(report["check"]["passed"], true);
    EXPECT_EQ(report["check"]["samples"], 40);
    EXPECT_EQ(report["generated_tokens"], 14);
  }
}

TEST(Replay, JsonToStandardOutputIsAlone) {
  const Folder folder;
  write(folder, std::string(header) + "0,10,2\n");
  const CommandResult result =
      run_command(folder, {"replay", "trace.csv", "--no-svg", "--json", "-"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(nlohmann::json::parse(result.out)["generated_tokens"], 2);
  EXPECT_THAT(folder.names(), ElementsAre("trace.csv"));
}

TEST(Replay, ArrivalsOutOfOrderAreSortedWithAWord) {
  const Folder folder;
  write(folder, std::string(header) + "5,10,2\n1,10,2\n");
  const CommandResult result = run_command(folder, {"replay", "trace.csv", "--no-svg"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out + result.err, HasSubstr("sort"));
}

TEST(Replay, RequestsThatCannotFitAreRejectedAndSaid) {
  const Folder folder;
  write(folder, std::string(header) + "0,1000,5\n0,10,2\n0,10,2\n0,0,0\n");
  const CommandResult result =
      run_command(folder, {"replay", "trace.csv", "--pages", "1", "--no-svg"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out + result.err, HasSubstr("reject"));
}

// Traces in the forms in which services publish them.
TEST(Replay, PublishedTracesAreServed) {
  const Folder folder;
  for (const char* text :
       {"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,10,2\n"
        "2023-11-16 18:15:50.9951690,20,3\n",
        "{\"timestamp\": 0, \"input_length\": 10, \"output_length\": 2, \"hash_ids\": [0]}\n"
        "{\"timestamp\": 30, \"input_length\": 20, \"output_length\": 3, \"hash_ids\": [0, 1]}\n",
        "\"note, quoted\",arrival_s,context_tokens,generated_tokens\n\"a, "
        "b\",0,10,2\nc,1,20,3\n"}) {
    write(folder, text);
    const CommandResult result =
        run_command(folder, {"replay", "trace.csv", "--no-svg", "--json", "-"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(nlohmann::json::parse(result.out)["generated_tokens"], 5);
  }
}

TEST(Replay, StandardInputIsATrace) {
  const Folder folder;
  write(folder, std::string(header) + "0,10,2\n");
  const std::string command = "cd '" + folder.path().string() + "' && " FLASHMLA_COMMAND;
  const auto run = [&](const std::string& line) { return std::system((command + line).c_str()); };
  EXPECT_EQ(run(" replay - --no-svg --json report.json <trace.csv >out"), 0);
  EXPECT_EQ(nlohmann::json::parse(contents(folder.file("report.json")))["generated_tokens"], 2);
  EXPECT_NE(run(" replay - --no-svg </dev/null 2>err"), 0);
  EXPECT_TRUE(
      is_one_line(contents(folder.file("err")), "flashmla replay: standard input: line 1: "))
      << contents(folder.file("err"));
}

}  // namespace
}  // namespace flashmla::tests
