#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/random.h"
#include "tests/end_to_end/command.h"
#include "tests/end_to_end/each_backend.h"

namespace flashmla::tests {
namespace {

using testing::HasSubstr;

std::string join(const std::vector<int>& numbers) {
  std::ostringstream text;
  for (const int number : numbers)
    text << (text.view().empty() ? "" : ",") << number;
  return std::move(text).str();
}

// Counts how often each block of each request is computed, which must be once. Of a request without
// tokens one segment must write the result.
void expect_every_block_once(const nlohmann::json& plan, const std::vector<int>& lengths) {
  const int block_tokens = plan["block_tokens"];
  std::vector<std::vector<int>> counts;
  std::vector<int> empty(lengths.size(), 0);
  for (const int length : lengths)
    counts.emplace_back((length + block_tokens - 1) / block_tokens, 0);
  for (const auto& segments : plan["workers"])
    for (const auto& segment : segments) {
      if (segment["first_block"] == segment["end_block"])
        ++empty.at(segment["request"]);
      for (int block = segment["first_block"]; block < segment["end_block"]; ++block)
        ++counts.at(segment["request"]).at(static_cast<std::size_t>(block));
    }
  for (const std::vector<int>& blocks : counts)
    EXPECT_THAT(blocks, testing::Each(1));
  for (std::size_t r = 0; r < lengths.size(); ++r)
    EXPECT_EQ(empty[r], lengths[r] == 0 ? 1 : 0) << "request " << r;
}

class PlanOn : public EachBackend {};

INSTANTIATE_TEST_SUITE_P(Plan, PlanOn, every_backend(), backend_name);

TEST_P(PlanOn, JsonCoversEveryBlockOnce) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  for (const bool invariant : {false, true}) {
    std::vector<int> lengths(static_cast<std::size_t>(random.between(1, 20)));
    for (int& length : lengths)
      length = random.chance(0.2) ? 0 : static_cast<int>(random.log_between(1, 50000));
    std::vector<std::string> words{"plan", "--json",    "--heads",     "128",       "--max-workers",
                                   "16",   "--lengths", join(lengths), "--backend", backend()};
    if (invariant)
      words.emplace_back("--batch-invariant");
    const Folder folder;
    const CommandResult result = run_command(folder, words);
    ASSERT_EQ(result.status, 0) << result.err;
    const auto plan = nlohmann::json::parse(result.out);
    ASSERT_EQ(plan["requests"].size(), lengths.size());
    for (std::size_t r = 0; r < lengths.size(); ++r)
      EXPECT_EQ(plan["requests"][r]["tokens"], lengths[r]);
    // A worker of the CPU computes all row tiles. A worker of a GPU has two thread blocks for them.
    EXPECT_EQ(plan["workers"].size(), backend() == "cuda" ? 8u : 16u);
    expect_every_block_once(plan, lengths);
  }
}

TEST_P(PlanOn, TextDescribesProblemAndRequests) {
  const Folder folder;
  std::ofstream(folder.file("lengths")) << "5000\n0\n77\n";
  const CommandResult result = run_command(
      folder, {"plan", "--lengths-file", "lengths", "--max-workers", "4", "--backend", backend()});
  EXPECT_EQ(result.status, 0) << result.err;
  for (const char* part :
       {"dense_decode", "b=3", "kernel ", "tiles of 1", "worker 3", "request", "5000", "77"})
    EXPECT_THAT(result.out, HasSubstr(part));
}

TEST(Plan, VarlenFollowsItsSeed) {
  const Folder folder;
  const auto plan_with = [&](const char* seed) {
    return run_command(folder, {"plan", "--json", "--varlen", "--batch", "16", "--tokens", "3000",
                                "--seed", seed})
        .out;
  };
  EXPECT_EQ(plan_with("1"), plan_with("1"));
  EXPECT_NE(plan_with("1"), plan_with("2"));
}

TEST(Plan, AnEmptyBatchAndAnEmptyRequest) {
  const Folder folder;
  EXPECT_EQ(run_command(folder, {"plan", "--batch", "0"}).status, 0);
  EXPECT_EQ(run_command(folder, {"plan", "--tokens", "0"}).status, 0);
}

}  // namespace
}  // namespace flashmla::tests
