// Gives every option of every subcommand every kind of wrong value. The command prints one line
// with the option as it was typed, what was given and what is wanted. It exits with status 2 and
// writes no file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <string>
#include <vector>

#include "tests/end_to_end/command.h"

namespace flashmla::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

using Words = std::vector<std::string>;

constexpr const char* trace = FLASHMLA_TRACES "/azure_conversation_2023.csv";

// Words that a subcommand needs, so that it complains about the tested option and nothing else.
Words base_of(const std::string& subcommand) {
  if (subcommand == "run")
    return {"run", "--output", "."};
  if (subcommand == "replay")
    return {"replay", trace, "--no-svg"};
  return {subcommand};
}

// Values that no numeric option accepts.
const Words& no_numbers() {
  static const Words values{"",   " ",  "x",  "5x", "x5", "5,",  "nan", "inf",   "-inf", "0x10",
                            "+5", "5 ", " 5", "1e", "--", "1/2", "\n5", "5\x01", "½",    "1e999"};
  return values;
}

struct Option {
  std::string name;
  Words wrong;
};

Option integer(const std::string& name, const Words& beyond) {
  Option option{name, no_numbers()};
  option.wrong.insert(option.wrong.end(),
                      {"1.5", "1e3", "-1", "99999999999999999999", "-99999999999999999999"});
  option.wrong.insert(option.wrong.end(), beyond.begin(), beyond.end());
  return option;
}

Option number(const std::string& name, const Words& beyond) {
  Option option{name, no_numbers()};
  option.wrong.insert(option.wrong.end(), beyond.begin(), beyond.end());
  return option;
}

Option choice(const std::string& name) {
  return {name, {"", "x", "-1", "DENSE", "dense ", "dense,sparse", "nan", "\n"}};
}

Option path(const std::string& name) {
  return {name, {"", "missing/a.json", "/", "."}};
}

// The options that describe a problem.
std::vector<Option> problem_options() {
  return {integer("--batch", {"131073", "2147483648"}),
          integer("--tokens", {"2147483648"}),
          {"--lengths",
           {"", ",", "5,,7", "5,", ",5", "-1", "5,-1", "x", "5,x", "5x", "1.5", "nan", "2147483648",
            "99999999999999999999", "1;2"}},
          {"--lengths-file", {"", "missing", "/"}},
          integer("--query-tokens", {"0", "131073"}),
          integer("--heads", {"0", "65537"}),
          integer("--kv-heads", {"0", "65537", "3"}),
          integer("--d-qk", {"0", "192", "513"}),
          integer("--page-size", {"0", "2147483648"}),
          choice("--format"),
          choice("--backend"),
          integer("--threads", {"4097"}),
          integer("--max-workers", {"65537", "2147483648"}),
          integer("--seed", {"18446744073709551616"}),
          {"--causal", {"=maybe", "=5"}},
          {"--batch-invariant", {"=maybe"}}};
}

std::vector<Option> options_of(const std::string& subcommand) {
  if (subcommand == "info")
    return {{"--json", {"=maybe"}}};
  if (subcommand == "plan") {
    std::vector<Option> options = problem_options();
    options.push_back({"--json", {"=maybe"}});
    return options;
  }
  if (subcommand == "run") {
    std::vector<Option> options = problem_options();
    options.insert(options.end(), {choice("--kind"),
                                   integer("--topk", {"0", "2147483648"}),
                                   integer("--extra-topk", {"2147483648"}),
                                   integer("--extra-page-size", {"0", "2147483648"}),
                                   number("--softmax-scale", {"1e39", "-1e39"}),
                                   {"--sink", {"=maybe"}},
                                   {"--save-inputs", {"=maybe"}}});
    return options;
  }
  if (subcommand == "check")
    return {choice("--suite"),
            choice("--size"),
            choice("--backend"),
            integer("--seed", {"18446744073709551616"}),
            integer("--case", {"1040", "9223372036854775808"}),
            integer("--cases", {"0", "9223372036854775808"}),
            {"--shard", {"", "0/4", "5/4", "1", "1/", "/4", "1/4x", "1x4", "a/b", "-1/4", "nan"}},
            integer("--jobs", {"0", "65"}),
            path("--json")};
  if (subcommand == "bench")
    return {choice("--suite"),
            {"--shape",
             {"", "4,1,64", "4,1,0,100", "4,1,64,x", "4,1,64,100,", "4,1,64,100,more",
              "-4,1,64,100", "4,1,64,100,causal,causal", "131073,1,1,1", "1,1,65537,1",
              "1,1,1,2147483648", "nan,1,1,1"}},
            choice("--format"),
            choice("--scales"),
            integer("--page-size", {"0", "65537"}),
            integer("--kv-heads", {"0", "65537"}),
            integer("--d-qk", {"0", "192"}),
            choice("--backend"),
            integer("--threads", {"4097"}),
            number("--min-time", {"-1", "3601"}),
            integer("--rounds", {"0", "1000001"}),
            integer("--seed", {"18446744073709551616"}),
            {"--warm", {"=maybe"}},
            {"--with-schedule", {"=maybe"}},
            {"--host-time", {"=maybe"}},
            {"--reference", {"", "missing", "/", trace}},
            path("--json")};
  return {integer("--heads", {"0", "1025"}),
          integer("--layers", {"0", "1025"}),
          choice("--format"),
          integer("--page-size", {"0", "65537"}),
          integer("--pages", {"0", "2147483648"}),
          choice("--backend"),
          integer("--max-batch", {"0", "4097"}),
          integer("--max-requests", {"0", "2147483648"}),
          integer("--speculative", {"0", "65"}),
          number("--step-ms", {"0", "-1", "1e7"}),
          integer("--seed", {"18446744073709551616"}),
          integer("--samples", {"0", "1000001"}),
          {"--no-check", {"=maybe"}},
          {"--svg", {""}},
          {"--no-svg", {"=maybe"}},
          path("--json")};
}

class OptionsOf : public testing::TestWithParam<const char*> {};

TEST_P(OptionsOf, WrongValuesAreNamed) {
  const std::string subcommand = GetParam();
  for (const Option& option : options_of(subcommand))
    for (const std::string& value : option.wrong) {
      Words words = base_of(subcommand);
      if (value.starts_with('='))
        words.push_back(option.name + value);
      else
        words.insert(words.end(), {option.name, value});
      SCOPED_TRACE(testing::PrintToString(words));
      const Folder folder;
      const CommandResult result = run_command(folder, words);
      EXPECT_EQ(result.status, 2);
      EXPECT_THAT(result.out, IsEmpty());
      EXPECT_TRUE(is_one_line(result.err, "flashmla " + subcommand + ": ")) << result.err;
      EXPECT_THAT(result.err,
                  AllOf(HasSubstr(option.name), HasSubstr("given "), HasSubstr("wanted ")));
      EXPECT_THAT(folder.names(), IsEmpty());
    }
}

// The lists above have every option of --help.
TEST_P(OptionsOf, AreAllKnown) {
  const std::string subcommand = GetParam();
  const std::vector<Option> known = options_of(subcommand);
  const Folder folder;
  const std::string help = run_command(folder, {subcommand, "--help"}).out;
  const std::regex name("\n  (--[a-z-]+)");
  int found = 0;
  for (auto at = std::sregex_iterator(help.begin(), help.end(), name); at != std::sregex_iterator();
       ++at) {
    const std::string option = (*at)[1];
    ++found;
    if (option == "--varlen" || option == "--output")
      continue;
    EXPECT_TRUE(std::ranges::any_of(known, [&](const Option& o) { return o.name == option; }))
        << option;
  }
  EXPECT_GE(found, static_cast<int>(known.size()));
}

TEST_P(OptionsOf, AreGivenOnceAndWithAValue) {
  const std::string subcommand = GetParam();
  if (subcommand == "info")
    return;
  const std::string option = subcommand == "check" ? "--jobs" : "--page-size";
  for (const Words& more : {Words{option}, Words{option, "64", option, "16"}}) {
    Words words = base_of(subcommand);
    words.insert(words.end(), more.begin(), more.end());
    const Folder folder;
    const CommandResult result = run_command(folder, words);
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.err, AllOf(HasSubstr(option), HasSubstr("given "), HasSubstr("wanted ")));
  }
}

INSTANTIATE_TEST_SUITE_P(All, OptionsOf,
                         testing::Values("info", "plan", "run", "check", "bench", "replay"),
                         [](const auto& value) { return std::string(value.param); });

// Errors about two options that do not fit each other also name the options.
TEST(OptionValues, TogetherTheyAreNamedAsTyped) {
  struct Case {
    Words words;
    const char* message;
  };
  const std::vector<Case> cases{
      {{"plan", "--heads", "7", "--kv-heads", "2"},
       "--heads: given 7, wanted a multiple of --kv-heads = 2"},
      {{"plan", "--tokens", "2147483647"}, "--tokens: given 33554432 pages of 64 tokens"},
      {{"plan", "--lengths", "2147483647"}, "--lengths: given 33554432 pages of 64 tokens"},
      {{"bench", "--shape", "1,1,7,10", "--kv-heads", "2"}, "--shape: given 7, wanted a multiple"},
      {{"run", "--output", ".", "--kind", "sparse", "--format", "fp16"}, "--format: given fp16"},
      {{"run", "--output", ".", "--kind", "sparse", "--kv-heads", "2"}, "--kv-heads: given 2"},
      {{"run", "--output", ".", "--kind", "sparse", "--lengths", "2"},
       "--lengths: given in sparse"},
      {{"run", "--output", ".", "--kind", "prefill", "--batch", "2"}, "--batch: given 2, wanted 1"},
      {{"run", "--output", ".", "--kind", "prefill", "--extra-topk", "2"}, "--extra-topk: given 2"},
      {{"run", "--output", ".", "--batch", "100000", "--tokens", "2000000000"},
       "--batch, --tokens: given what needs"},
      {{"plan", "--lengths", "1", "--tokens", "5"}, "--tokens excludes --lengths"},
      {{"check", "--suite", "all", "--case", "1"}, "--suite: given 'all' with --case"},
      {{"check", "--suite", "prefill", "--size", "sanitizer"}, "--suite: given 'prefill' of"}};
  for (const Case& wrong : cases) {
    const Folder folder;
    const CommandResult result = run_command(folder, wrong.words);
    EXPECT_EQ(result.status, 2) << wrong.message;
    EXPECT_THAT(result.err, HasSubstr(wrong.message));
    EXPECT_THAT(folder.names(), IsEmpty());
  }
}

TEST(OptionValues, AWordThatIsNoSubcommandIsNamed) {
  const Folder folder;
  for (const Words& words : {Words{"serve"}, Words{"--serve"}, Words{"serve", "--heads", "5"}}) {
    const CommandResult result = run_command(folder, words);
    EXPECT_EQ(result.status, 2);
    EXPECT_TRUE(is_one_line(result.err, "flashmla: given '" + words[0] + "', wanted a subcommand"))
        << result.err;
    EXPECT_THAT(result.err, HasSubstr("info, plan, run, check, bench or replay"));
  }
  EXPECT_THAT(run_command(folder, {}).err, HasSubstr("given nothing, wanted a subcommand"));
}

TEST(OptionValues, RightValuesAreTaken) {
  const Folder folder;
  for (const Words& words :
       {Words{"plan", "--lengths", "5,0,7"}, Words{"plan", "--lengths", "5", "7"},
        Words{"plan", "--lengths=5, 7"}, Words{"plan", "--seed", "18446744073709551615"},
        Words{"plan", "--causal=false"}, Words{"plan", "--batch", "0"},
        Words{"plan", "--heads", "010"}, Words{"check", "--size", "tiny", "--cases", "1"}})
    EXPECT_EQ(run_command(folder, words).status, 0) << testing::PrintToString(words);
  EXPECT_THAT(run_command(folder, {"plan", "--lengths", "5,0,7"}).out, HasSubstr("b=3"));
  EXPECT_THAT(run_command(folder, {"plan", "--heads", "010"}).out, HasSubstr("h_q=10"));
}

}  // namespace
}  // namespace flashmla::tests
