// Sparse decoding and prefill through the command: run, bench, check and replay.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "support/random.h"
#include "tests/end_to_end/command.h"
#include "tests/tools/read_npy.h"

namespace flashmla::tests {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// One cache and the lists of its slots, from the files of a case.
struct ListedRows {
  NpyArray cache;
  NpyArray indices;

  ListedRows(const Folder& folder, const char* cache_name, const char* indices_name)
      : cache(read_npy(folder.file(cache_name))), indices(read_npy(folder.file(indices_name))) {}

  // Appends the rows that a query token's list names.
  void add(std::int64_t token, std::vector<std::vector<float>>& rows) const {
    const std::int64_t topk = indices.shape.back();
    const std::int64_t d_qk = cache.shape.back();
    const auto elements = cache.floats();
    const auto slots = indices.integers();
    for (std::int64_t i = 0; i < topk; ++i) {
      const std::int64_t slot = slots[static_cast<std::size_t>(token * topk + i)];
      rows.emplace_back(elements.begin() + slot * d_qk, elements.begin() + (slot + 1) * d_qk);
    }
  }
};

// Compares every row of out and lse with attention in float64. In decoding lse has heads in front
// of tokens.
void expect_attention(const Folder& folder, bool extra, bool prefill, std::int64_t heads) {
  const NpyArray q = read_npy(folder.file("q.npy"));
  const auto queries = q.floats();
  const auto out = read_npy(folder.file("out.npy")).floats();
  const auto lse = read_npy(folder.file("lse.npy")).floats();
  const std::int64_t d_qk = q.shape.back();
  const auto query_rows = static_cast<std::int64_t>(queries.size()) / d_qk;
  const ListedRows main(folder, "kv_cache.npy", "indices.npy");
  for (std::int64_t row = 0; row < query_rows; ++row) {
    std::vector<std::vector<float>> rows;
    main.add(row / heads, rows);
    if (extra)
      ListedRows(folder, "extra_kv_cache.npy", "extra_indices.npy").add(row / heads, rows);
    std::vector<double> scores;
    double sum = 0;
    for (const auto& key : rows) {
      double score = 0;
      for (std::int64_t d = 0; d < d_qk; ++d)
        score += static_cast<double>(queries[row * d_qk + d]) * static_cast<double>(key[d]);
      scores.push_back(score / std::sqrt(static_cast<double>(d_qk)));
      sum += std::exp(scores.back());
    }
    // One query token in decoding: [b, h_q, 1].
    EXPECT_NEAR(lse[static_cast<std::size_t>(row)], std::log(sum), 1e-3);
    double difference = 0;
    double norm = 0;
    for (std::size_t d = 0; d < 512; ++d) {
      double expected = 0;
      for (std::size_t j = 0; j < rows.size(); ++j)
        expected += std::exp(scores[j]) / sum * static_cast<double>(rows[j][d]);
      difference += std::pow(static_cast<double>(out[row * 512 + d]) - expected, 2);
      norm += expected * expected;
    }
    EXPECT_LE(std::sqrt(difference), 0x1p-7 * std::sqrt(norm)) << "row " << row;
  }
  if (prefill) {
    EXPECT_THAT(read_npy(folder.file("max_logits.npy")).shape,
                ElementsAre(query_rows / heads, heads));
  }
}

TEST(Sparse, TheSavedFilesOfDecodingAreAttention) {
  for (const char* format : {"bf16", "v32", "v4"}) {
    const std::string seed = std::to_string(support::fresh_seed());
    SCOPED_TRACE(format + (" seed " + seed));
    const Folder folder;
    const CommandResult result = run_command(
        folder, {"run", "--kind",  "sparse", "--format",      format,     "--batch",
                 "2",   "--heads", "3",      "--tokens",      "100",      "--page-size",
                 "16",  "--topk",  "70",     "--extra-topk",  "9",        "--extra-page-size",
                 "3",   "--seed",  seed,     "--save-inputs", "--output", "."});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("sparse_decode"));
    expect_attention(folder, true, false, 3);
  }
}

TEST(Sparse, TheSavedFilesOfPrefillAreAttention) {
  const std::string seed = std::to_string(support::fresh_seed());
  SCOPED_TRACE("seed " + seed);
  const Folder folder;
  const CommandResult result = run_command(
      folder, {"run", "--kind", "prefill", "--query-tokens", "4", "--heads", "5", "--tokens", "200",
               "--topk", "33", "--d-qk", "512", "--seed", seed, "--save-inputs", "--output", "."});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(read_npy(folder.file("out.npy")).shape, ElementsAre(4, 5, 512));
  expect_attention(folder, false, true, 5);
}

TEST(Sparse, OptionsOfDenseDecodingAreBadInput) {
  const Folder folder;
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--causal"},
                                               {"--lengths", "3,4"},
                                               {"--kv-heads", "2"},
                                               {"--varlen"},
                                               {"--format", "fp16"},
                                               {"--topk", "0"}}) {
    std::vector<std::string> words{"run", "--kind", "sparse", "--output", "."};
    words.insert(words.end(), more.begin(), more.end());
    const CommandResult result = run_command(folder, words);
    EXPECT_EQ(result.status, 2) << more[0];
    EXPECT_TRUE(is_one_line(result.err, "flashmla run: ")) << result.err;
  }
}

// The lists of several query tokens of a request name some slots together; these are read once.
TEST(Sparse, BenchCountsWhatACallMovesAndComputes) {
  const Folder folder;
  for (const char* suite : {"sparse", "prefill"}) {
    const CommandResult result =
        run_command(folder, {"bench", "--suite", suite, "--shape", "1,3,4,200", "--rounds", "2",
                             "--min-time", "0", "--warm", "--json", "-"});
    ASSERT_EQ(result.status, 0) << result.err;
    const auto report = nlohmann::json::parse(result.out);
    EXPECT_EQ(report["suite"], suite);
    const auto& shape = report["shapes"][0];
    EXPECT_EQ(shape["tokens"], 600);
    const double rows = (shape["bytes"].get<double>() - 2.0 * 12 * (576 + 512)) / (2 * 576);
    EXPECT_EQ(rows, std::floor(rows));
    EXPECT_GT(rows, 560);
    EXPECT_LT(rows, 600);
    EXPECT_EQ(shape["flop"].get<double>(), 2.0 * 4 * 600 * (576 + 512));
  }
}

TEST(Sparse, TheTinySuitesPass) {
  const Folder folder;
  const CommandResult result = run_command(
      folder, {"check", "--suite", "all", "--size", "tiny", "--cases", "25", "--json", "r.json"});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  const auto report = nlohmann::json::parse(contents(folder.file("r.json")));
  EXPECT_EQ(report["failures"], 0);
  EXPECT_EQ(report["cases"], 75);
  for (const char* suite : {"dense", "sparse", "prefill"})
    EXPECT_EQ(report["suite_cases"][suite], 25);
  EXPECT_EQ(run_command(folder, {"check", "--suite", "all", "--case", "3"}).status, 2);
}

TEST(Sparse, ReplayOverFp8Caches) {
  const Folder folder;
  std::ofstream(folder.file("trace.csv"))
      << "arrival_s,context_tokens,generated_tokens\n0,300,4\n0.1,20,5\n";
  for (const char* format : {"v32", "v4"}) {
    const CommandResult result =
        run_command(folder, {"replay", "trace.csv", "--format", format, "--heads", "4",
                             "--speculative", "2", "--no-svg", "--json", "r.json"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("all right"));
  }
}

}  // namespace
}  // namespace flashmla::tests
