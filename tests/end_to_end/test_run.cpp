#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "support/random.h"
#include "tests/end_to_end/command.h"
#include "tests/end_to_end/each_backend.h"
#include "tests/tools/read_npy.h"

namespace flashmla::tests {
namespace {

using testing::ElementsAre;

// A saved case, read as a NumPy user reads it.
struct SavedCase {
  explicit SavedCase(const Folder& folder)
      : q(read_npy(folder.file("q.npy"))),
        cache(read_npy(folder.file("kv_cache.npy"))),
        out(read_npy(folder.file("out.npy"))),
        lse(read_npy(folder.file("lse.npy"))),
        lengths(read_npy(folder.file("lengths.npy")).integers()),
        table(read_npy(folder.file("block_table.npy"))) {}

  NpyArray q;      // [b, s_q, h_q, d_qk]
  NpyArray cache;  // [num_pages, page_size, h_kv, d_qk]
  NpyArray out;    // [b, s_q, h_q, d_v]
  NpyArray lse;    // [b, h_q, s_q]
  std::vector<std::int32_t> lengths;
  NpyArray table;  // [b, max_pages]
};

struct Row {
  std::vector<double> out;
  double lse;
};

// Attention of one query head over the first `tokens` cached rows, in float64, one KV head.
Row attend(const SavedCase& saved, std::int64_t request, std::int64_t query, std::int64_t tokens) {
  const auto q = saved.q.floats();
  const auto cache = saved.cache.floats();
  const auto table = saved.table.integers();
  const std::int64_t page_size = saved.cache.shape[1];
  const std::int64_t d_qk = saved.cache.shape[3];
  const std::int64_t d_v = saved.out.shape[3];
  std::vector<double> scores;
  std::vector<const float*> rows;
  for (std::int64_t j = 0; j < tokens; ++j) {
    const std::int64_t page = table[request * saved.table.shape[1] + j / page_size];
    rows.push_back(cache.data() + (page * page_size + j % page_size) * d_qk);
    double score = 0;
    for (std::int64_t d = 0; d < d_qk; ++d)
      score += static_cast<double>(q[query * d_qk + d]) * static_cast<double>(rows.back()[d]);
    scores.push_back(score / std::sqrt(static_cast<double>(d_qk)));
  }
  double sum = 0;
  for (const double score : scores)
    sum += std::exp(score);
  Row row{std::vector<double>(static_cast<std::size_t>(d_v), 0.0), std::log(sum)};
  for (std::size_t j = 0; j < rows.size(); ++j)
    for (std::size_t d = 0; d < row.out.size(); ++d)
      row.out[d] += std::exp(scores[j] - row.lse) * static_cast<double>(rows[j][d]);
  return row;
}

class RunOn : public EachBackend {};

INSTANTIATE_TEST_SUITE_P(Run, RunOn, every_backend(), backend_name);

TEST_P(RunOn, TheSavedFilesAreAttention) {
  const std::string seed = std::to_string(support::fresh_seed());
  SCOPED_TRACE("seed " + seed);
  const Folder folder;
  const CommandResult result =
      run_command(folder, {"run", "--lengths", "70,3,1", "--query-tokens", "2", "--heads", "3",
                           "--causal", "--page-size", "16", "--seed", seed, "--save-inputs",
                           "--output", ".", "--backend", backend()});
  ASSERT_EQ(result.status, 0) << result.err;
  const SavedCase saved(folder);
  ASSERT_THAT(saved.lengths, ElementsAre(70, 3, 1));
  ASSERT_THAT(saved.out.shape, ElementsAre(3, 2, 3, 512));
  ASSERT_THAT(saved.lse.shape, ElementsAre(3, 3, 2));
  const auto out = saved.out.floats();
  const auto lse = saved.lse.floats();
  for (std::int64_t query = 0; query < 18; ++query) {
    const std::int64_t request = query / 6;
    const std::int64_t token = query / 3 % 2;
    const std::int64_t head = query % 3;
    const float* const given = out.data() + query * 512;
    const double given_lse = static_cast<double>(lse[(request * 3 + head) * 2 + token]);
    const std::int64_t visible = saved.lengths[request] - 2 + token + 1;
    SCOPED_TRACE(testing::Message() << "row " << query << ", sees " << visible);
    if (visible == 0) {
      EXPECT_EQ(given_lse, std::numeric_limits<double>::infinity());
      EXPECT_THAT(std::vector<float>(given, given + 512), testing::Each(0.0f));
      continue;
    }
    const Row row = attend(saved, request, query, visible);
    double difference = 0;
    double norm = 0;
    for (std::size_t d = 0; d < 512; ++d) {
      difference += std::pow(static_cast<double>(given[d]) - row.out[d], 2);
      norm += row.out[d] * row.out[d];
    }
    EXPECT_LE(std::sqrt(difference), 0x1p-7 * std::sqrt(norm));
    EXPECT_NEAR(given_lse, row.lse, 1e-4 * std::max(1.0, std::abs(row.lse)));
  }
}

TEST(Run, OneSeedOneResult) {
  const Folder first;
  const Folder again;
  const Folder other;
  const auto run_in = [](const Folder& folder, const char* seed, const char* threads) {
    const CommandResult result =
        run_command(folder, {"run", "--batch", "3", "--tokens", "700", "--sink", "--seed", seed,
                             "--threads", threads, "--save-inputs", "--output", "."});
    ASSERT_EQ(result.status, 0) << result.err;
  };
  run_in(first, "5", "1");
  run_in(again, "5", "3");
  run_in(other, "6", "1");
  EXPECT_THAT(first.names(), ElementsAre("attn_sink.npy", "block_table.npy", "kv_cache.npy",
                                         "lengths.npy", "lse.npy", "out.npy", "q.npy"));
  for (const std::string& name : first.names())
    EXPECT_EQ(contents(first.file(name)), contents(again.file(name))) << name;
  for (const char* name : {"out.npy", "lse.npy", "q.npy"})
    EXPECT_NE(contents(first.file(name)), contents(other.file(name))) << name;
}

TEST(Run, MakesItsFolderAndPrintsTheSeed) {
  const Folder folder;
  const CommandResult result = run_command(folder, {"run", "--tokens", "10", "--output", "case"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, testing::HasSubstr("seed "));
  EXPECT_THAT(read_npy(folder.file("case/out.npy")).shape, ElementsAre(1, 1, 16, 512));
}

TEST(Run, TheSinkAndTheScaleMatter) {
  const Folder plain;
  const Folder sink;
  const Folder scale;
  const std::vector<std::string> words{"run", "--tokens", "9", "--seed", "3", "--output", "."};
  const auto run_in = [&](const Folder& folder, const std::vector<std::string>& more) {
    std::vector<std::string> all = words;
    all.insert(all.end(), more.begin(), more.end());
    ASSERT_EQ(run_command(folder, all).status, 0);
  };
  run_in(plain, {});
  run_in(sink, {"--sink"});
  run_in(scale, {"--softmax-scale", "0.5"});
  EXPECT_NE(contents(plain.file("out.npy")), contents(sink.file("out.npy")));
  EXPECT_EQ(contents(plain.file("lse.npy")), contents(sink.file("lse.npy")));
  EXPECT_NE(contents(plain.file("lse.npy")), contents(scale.file("lse.npy")));
}

}  // namespace
}  // namespace flashmla::tests
