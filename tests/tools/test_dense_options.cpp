#include "tools/dense_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "flashmla/error.h"
#include "support/random.h"
#include "tools/command.h"

namespace flashmla::tools {
namespace {

using testing::ElementsAre;

// Parses the words like `flashmla plan`.
DenseOptions parse(std::vector<std::string> words) {
  CLI::App app;
  DenseOptions options;
  add_dense_options(app, options);
  std::ranges::reverse(words);  // the order that CLI11 wants
  app.parse(words);
  return options;
}

class LengthsFile {
 public:
  explicit LengthsFile(const std::string& text) { std::ofstream(path_) << text; }
  ~LengthsFile() { std::filesystem::remove(path_); }
  LengthsFile(const LengthsFile&) = delete;
  LengthsFile& operator=(const LengthsFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() /
                       ("flashmla_lengths_" + std::to_string(support::fresh_seed())))
                          .string();
};

TEST(DenseOptions, ReachTheProblem) {
  DenseOptions options = parse({"--lengths",     "100,0,7", "--heads",        "64",
                                "--kv-heads",    "2",       "--query-tokens", "3",
                                "--page-size",   "16",      "--format",       "fp16",
                                "--d-qk",        "512",     "--causal",       "--batch-invariant",
                                "--max-workers", "5",       "--seed",         "9"});
  const support::DenseCase made = options.to_case();
  const Problem problem = options.problem(made);
  EXPECT_THAT(made.lengths, ElementsAre(100, 0, 7));
  EXPECT_EQ(made.seed, 9u);
  EXPECT_EQ(problem.batch, 3);
  EXPECT_EQ(problem.query_heads, 64);
  EXPECT_EQ(problem.kv_heads, 2);
  EXPECT_EQ(problem.query_tokens, 3);
  EXPECT_EQ(problem.page_size, 16);
  EXPECT_EQ(problem.max_pages, 7);
  EXPECT_EQ(problem.qk_dim, 512);
  EXPECT_EQ(problem.kv_format, KvFormat::fp16);
  EXPECT_EQ(problem.query_type, DType::fp16);
  EXPECT_TRUE(problem.causal);
  EXPECT_TRUE(problem.batch_invariant);
  EXPECT_EQ(problem.max_workers, 5);
}

TEST(DenseOptions, LengthsComeFromOneSourceAlone) {
  EXPECT_THROW(parse({"--lengths", "1,2", "--tokens", "3"}), CLI::ParseError);
  EXPECT_THROW(parse({"--lengths", "1,2", "--batch", "3"}), CLI::ParseError);
  EXPECT_THROW(parse({"--lengths", "1,2", "--varlen"}), CLI::ParseError);
  EXPECT_THROW(parse({"--lengths", "1,2", "--lengths-file", "x"}), CLI::ParseError);
}

TEST(DenseOptions, ValuesThatMakeNoCase) {
  for (const auto& words : std::vector<std::vector<std::string>>{{"--batch", "-1"},
                                                                 {"--batch", "131073"},
                                                                 {"--tokens", "-1"},
                                                                 {"--tokens", "2147483648"},
                                                                 {"--lengths", "5,-5"},
                                                                 {"--lengths", ""},
                                                                 {"--lengths", "5,,7"},
                                                                 {"--query-tokens", "0"},
                                                                 {"--page-size", "0"},
                                                                 {"--seed", "-1"},
                                                                 {"--d-qk", "192"},
                                                                 {"--format", "fp4"},
                                                                 {"--backend", "tpu"}})
    EXPECT_THROW(parse(words), CLI::ParseError) << words[0] << " " << words[1];
}

TEST(DenseOptions, ABackendThatIsNotThere) {
  try {
    device_of_backend("cuda");
    GTEST_SKIP() << "this build and machine have the cuda backend";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
  }
  EXPECT_THROW(device_of_backend("tpu"), BadInput);
  EXPECT_EQ(device_of_backend("cpu"), Device{});
}

TEST(DenseOptions, LengthsFromAFile) {
  const LengthsFile file("12, 0\t7\r\n\n2147483647\n");
  EXPECT_THAT(read_lengths(file.path()), ElementsAre(12, 0, 7, 2147483647));
}

TEST(DenseOptions, ABadLengthsFileNamesTheLine) {
  for (const char* text : {"1\n2\nx\n", "1\n2\n-3\n", "1\n2\n5,,7\n", "1\n2\n,5\n", "1\n2\n5x\n",
                           "1\n2\n3.5\n", "1\n2\n2147483648\n", "1\n2\n1e3\n"}) {
    const LengthsFile file(text);
    try {
      read_lengths(file.path());
      ADD_FAILURE() << "nothing was thrown for " << text;
    } catch (const BadInput& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("line 3")) << text;
    }
  }
  EXPECT_THROW(read_lengths(LengthsFile("").path()), BadInput);
  EXPECT_THROW(read_lengths("/nonexistent/lengths"), BadInput);
}

TEST(DenseOptions, VarlenLengthsFollowTheirRecipe) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const auto lengths = varlen_lengths(20000, 1000, 2, seed);
  EXPECT_EQ(lengths, varlen_lengths(20000, 1000, 2, seed));
  EXPECT_NE(lengths, varlen_lengths(20000, 1000, 2, seed + 1));
  EXPECT_EQ(*std::ranges::min_element(lengths), 2);
  // Mean of max(2, normal(1000, 500)) is 1004.2; 20,000 of them have a standard error of 3.5.
  const double mean = std::accumulate(lengths.begin(), lengths.end(), 0.0) / 20000;
  EXPECT_NEAR(mean, 1004, 25);
  const auto above =
      std::ranges::count_if(lengths, [](std::int32_t length) { return length > 1500; });
  EXPECT_NEAR(static_cast<double>(above) / 20000, 0.1587, 0.015);  // one standard deviation
}

}  // namespace
}  // namespace flashmla::tools
