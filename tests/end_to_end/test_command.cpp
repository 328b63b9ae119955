// Behaviour that all subcommands share.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "flashmla/backends.h"
#include "tests/end_to_end/command.h"

namespace flashmla::tests {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class EverySubcommand : public testing::TestWithParam<const char*> {};

TEST_P(EverySubcommand, HelpHasAnExample) {
  const Folder folder;
  const CommandResult result = run_command(folder, {GetParam(), "--help"});
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.out, HasSubstr(std::string("Example:\n  flashmla ") + GetParam()));
  EXPECT_THAT(result.err, IsEmpty());
}

TEST_P(EverySubcommand, AnUnknownOptionIsBadInput) {
  const Folder folder;
  const CommandResult result = run_command(folder, {GetParam(), "--no-such-option"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_TRUE(is_one_line(result.err, std::string("flashmla ") + GetParam() + ": ")) << result.err;
  EXPECT_THAT(folder.names(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(All, EverySubcommand,
                         testing::Values("info", "plan", "run", "check", "bench", "replay"),
                         [](const auto& value) { return std::string(value.param); });

TEST(Command, HelpAndVersion) {
  const Folder folder;
  const CommandResult help = run_command(folder, {"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* part : {"info", "plan", "run", "check", "bench", "replay", "Example:"})
    EXPECT_THAT(help.out, HasSubstr(part));
  const CommandResult shown = run_command(folder, {"--version"});
  EXPECT_EQ(shown.status, 0);
  EXPECT_EQ(shown.out, "flashmla " + std::string(version()) + "\n");
}

TEST(Command, NoOrUnknownSubcommandIsBadInput) {
  const Folder folder;
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{}, {"no-such-subcommand"}, {"--no-such-option"}}) {
    const CommandResult result = run_command(folder, words);
    EXPECT_EQ(result.status, 2);
    EXPECT_TRUE(is_one_line(result.err, "flashmla: ")) << result.err;
  }
}

TEST(Command, OutputThatCannotBeWrittenIsBadInput) {
  const Folder folder;
  const std::string line = std::string(FLASHMLA_COMMAND) + " plan >/dev/full 2>" +
                           folder.file("err") + "; test $? -eq 2";
  EXPECT_EQ(std::system(line.c_str()), 0);
  EXPECT_TRUE(is_one_line(contents(folder.file("err")), "flashmla plan: "));
}

TEST(Info, NamesVersionBackendsAndRefusals) {
  const Folder folder;
  const CommandResult result = run_command(folder, {"info"});
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.out, StartsWith("flashmla " + std::string(version()) + "\n"));
  EXPECT_THAT(result.out, HasSubstr("backend cpu: ready"));
}

TEST(Info, JsonAgreesWithTheLibrary) {
  const Folder folder;
  const CommandResult result = run_command(folder, {"info", "--json"});
  EXPECT_EQ(result.status, 0);
  const auto info = nlohmann::json::parse(result.out);
  EXPECT_EQ(info["version"], version());
  const auto backends = list_backends();
  ASSERT_EQ(info["backends"].size(), backends.size());
  for (std::size_t i = 0; i < backends.size(); ++i) {
    EXPECT_EQ(info["backends"][i]["name"], backends[i].name);
    EXPECT_EQ(info["backends"][i]["devices"].size(), backends[i].devices.size());
    EXPECT_FALSE(info["backends"][i]["refusals"].empty());
  }
}

TEST(Info, SaysWhyAFilteredBackendRefuses) {
  const Folder folder;
  const CommandResult result = run_command(folder, {"info"}, {"FLASHMLA_BACKEND=none"});
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.out, HasSubstr("FLASHMLA_BACKEND=none"));
}

struct Refused {
  std::vector<std::string> words;
  std::vector<std::string> variables;
  const char* reason;
};

// Where no backend serves the problem, the exit status is 3, the reason is printed, and no file is
// written.
TEST(Command, NoBackend) {
  const std::vector<Refused> cases = {
      {{"plan", "--format", "v32"}, {}, "v32"},
      {{"plan", "--format", "v4", "--d-qk", "512"}, {}, "v4"},
      {{"run", "--format", "v32", "--output", "."}, {}, "v32"},
      {{"bench", "--format", "v32", "--json", "a.json"}, {}, "v32"},
      {{"plan"}, {"FLASHMLA_BACKEND=none"}, "FLASHMLA_BACKEND=none"},
      {{"run", "--output", "."}, {"FLASHMLA_BACKEND=none"}, "FLASHMLA_BACKEND=none"},
      {{"bench", "--json", "a.json"}, {"FLASHMLA_BACKEND=none"}, "FLASHMLA_BACKEND=none"},
      {{"check", "--size", "tiny", "--json", "a.json"},
       {"FLASHMLA_BACKEND=none"},
       "FLASHMLA_BACKEND=none"},
      {{"replay", FLASHMLA_TRACES "/azure_conversation_2023.csv", "--max-requests", "2"},
       {"FLASHMLA_BACKEND=none"},
       "FLASHMLA_BACKEND=none"},
  };
  for (const Refused& refused : cases) {
    SCOPED_TRACE(testing::PrintToString(refused.words));
    const Folder folder;
    const CommandResult result = run_command(folder, refused.words, refused.variables);
    EXPECT_EQ(result.status, 3);
    EXPECT_TRUE(is_one_line(result.err, "flashmla " + refused.words[0] + ": ")) << result.err;
    EXPECT_THAT(result.err, HasSubstr(refused.reason));
    EXPECT_THAT(folder.names(), IsEmpty());
  }
}

TEST(Command, ACudaBackendThatIsNotThere) {
  for (const BackendDescription& backend : list_backends())
    if (backend.name == "cuda" && backend.unavailable.empty())
      GTEST_SKIP() << "there is a cuda backend here";
  for (const char* name : {"plan", "run", "check", "bench", "replay"}) {
    SCOPED_TRACE(name);
    const Folder folder;
    std::vector<std::string> words{name, "--backend", "cuda"};
    if (words[0] == "run")
      words.insert(words.end(), {"--output", "."});
    if (words[0] == "replay")
      words.emplace_back(FLASHMLA_TRACES "/azure_conversation_2023.csv");
    const CommandResult result = run_command(folder, words);
    EXPECT_EQ(result.status, 3);
    EXPECT_TRUE(is_one_line(result.err, "flashmla " + words[0] + ": ")) << result.err;
    EXPECT_THAT(result.err, HasSubstr("cuda"));
    EXPECT_THAT(folder.names(), IsEmpty());
  }
}

TEST(Command, WrongValues) {
  const std::vector<std::vector<std::string>> cases = {
      {"plan", "--batch", "-1"},
      {"plan", "--heads", "7", "--kv-heads", "2"},
      {"plan", "--d-qk", "100"},
      {"plan", "--page-size", "0"},
      {"plan", "--lengths", "1,x"},
      {"plan", "--lengths", "1,-2"},
      {"plan", "--lengths-file", "missing"},
      {"plan", "--tokens", "1e99"},
      {"plan", "--max-workers", "-1"},
      {"plan", "--format", "fp4"},
      {"plan", "--backend", "tpu"},
      {"run"},
      {"run", "--output", "missing/folder"},
      {"run", "--output", ".", "--heads", "0"},
      {"run", "--output", ".", "--batch", "100000", "--tokens", "2000000000"},
      {"bench", "--shape", "4,1,64"},
      {"bench", "--shape", "4,1,0,100"},
      {"bench", "--rounds", "0", "--json", "a.json"},
      {"bench", "--suite", "other"},
      {"bench", "--json", "missing/a.json"},
      {"check", "--size", "other", "--json", "a.json"},
      {"check", "--suite", "other"},
      {"check", "--json", "missing/a.json"},
      {"replay", "missing.csv"},
      {"replay", FLASHMLA_TRACES "/azure_conversation_2023.csv", "--heads", "0"},
      {"replay", FLASHMLA_TRACES "/azure_conversation_2023.csv", "--svg", "missing/a.svg"},
  };
  for (const std::vector<std::string>& words : cases) {
    SCOPED_TRACE(testing::PrintToString(words));
    const Folder folder;
    const CommandResult result = run_command(folder, words);
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_TRUE(is_one_line(result.err, "flashmla " + words[0] + ": ")) << result.err;
    EXPECT_THAT(folder.names(), IsEmpty());
  }
}

}  // namespace
}  // namespace flashmla::tests
