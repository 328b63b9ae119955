#include "tools/bench/recorded.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tools/bench/reference_files.h"
#include "tools/command.h"
#include "tools/dense_options.h"

namespace flashmla::tools {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr const char* table = "dense_decode_bf16";

std::int64_t tokens_of(const Shape& shape) {
  if (!shape.varlen)
    return shape.batch * shape.tokens;
  const auto lengths = varlen_lengths(shape.batch, shape.tokens, shape.query_tokens, 0);
  return std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
}

TEST(Recorded, TheBuildHasTheFilesOfBothCards) {
  EXPECT_EQ(reference_files().size(), 4u);
  EXPECT_THAT(recordings_of_card("NVIDIA H200", table).sources(),
              UnorderedElementsAre("h200_upstream_dense.json", "h200_peers_dense.json"));
  EXPECT_THAT(recordings_of_card("NVIDIA H100 80GB HBM3", table).sources(),
              ElementsAre("h100_upstream_dense.json"));
  EXPECT_TRUE(recordings_of_card("NVIDIA A100-SXM4-80GB", table).sources().empty());
  EXPECT_TRUE(recordings_of_card("NVIDIA H200", "of_another_kind").sources().empty());
}

// The suite has the lengths of the recorded figures, and every shape has a recorded figure.
TEST(Recorded, EveryShapeOfTheSuiteIsFoundByItsTokens) {
  for (const char* card : {"NVIDIA H200", "NVIDIA H100"}) {
    const Recordings recordings = recordings_of_card(card, table);
    EXPECT_EQ(recordings.shapes(), 36);
    for (const Shape& shape : gpu_dense_shapes()) {
      const auto recorded = recordings.find(shape, tokens_of(shape));
      ASSERT_TRUE(recorded) << text_of(shape) << " on " << card;
      ASSERT_TRUE(recorded->upstream);
      EXPECT_LE(recorded->best.cold, recorded->upstream->cold);
      EXPECT_LE(recorded->best.hot, recorded->upstream->hot);
    }
  }
}

// All shapes of the FP8 suites but those that nobody recorded.
TEST(Recorded, SparseShapesAreFoundByTheEntriesOfTheirLists) {
  std::int64_t found = 0;
  std::int64_t rows = 0;
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4}) {
    const Recordings recordings = recordings_of_card(
        "NVIDIA H200", format == KvFormat::v32 ? "sparse_decode_v32" : "sparse_decode_v4");
    EXPECT_THAT(recordings.sources(), ElementsAre("h200_upstream_sparse.json"));
    rows += recordings.shapes();
    for (const Shape& shape : gpu_sparse_shapes(format)) {
      const std::int64_t entries = shape.tokens + shape.extra_tokens;
      const auto recorded = recordings.find(shape, shape.batch * shape.query_tokens * entries);
      const bool wanted = shape.valid == 0 && text_of(shape) != "2,1,128,2048";
      EXPECT_EQ(recorded.has_value(), wanted) << text_of(shape);
      found += recorded.has_value();
    }
  }
  EXPECT_EQ(found, rows);
  EXPECT_EQ(rows, 51);
}

TEST(Recorded, TheFastestOfSeveralRecordsCounts) {
  const Recordings recordings = recordings_of_card("NVIDIA H200", table);
  const auto recorded = recordings.find({4, 1, 128, 8192}, 32768);
  ASSERT_TRUE(recorded);
  // Upstream: 40.5 and 35.6 in one file, 48.3 and 36.6 in the other.
  EXPECT_DOUBLE_EQ(recorded->upstream->cold, 40.5e-6);
  EXPECT_DOUBLE_EQ(recorded->upstream->hot, 35.6e-6);
  EXPECT_DOUBLE_EQ(recorded->best.cold, 35.0e-6);
  EXPECT_DOUBLE_EQ(recorded->best.hot, 29.3e-6);
  EXPECT_THAT(recorded->best_cold, HasSubstr("flashinfer"));
}

constexpr const char* row = R"({"shape": "2,1,16,100", "tokens": 200, )";

std::string file_of(const std::string& members) {
  return std::string(R"({"dense_decode_bf16": [)").append(row).append(members).append("}]}");
}

TEST(Recorded, ColdAndHotMayBeOfDifferentLibraries) {
  Recordings recordings;
  recordings.add("a", file_of(R"("x": [10, 9], "y": [11, 8], "best": [1, 1])"), table);
  const auto recorded = recordings.find({2, 1, 16, 100}, 200);
  ASSERT_TRUE(recorded);
  EXPECT_FALSE(recorded->upstream);
  EXPECT_EQ(recorded->best_cold, "x");
  EXPECT_EQ(recorded->best_hot, "y");
  EXPECT_DOUBLE_EQ(recorded->best.cold, 10e-6);
  EXPECT_DOUBLE_EQ(recorded->best.hot, 8e-6);
  EXPECT_FALSE(recordings.find({2, 1, 16, 100}, 201)) << "other lengths";
  EXPECT_FALSE(recordings.find({2, 1, 16, 100, false, true}, 200)) << "causal";
  EXPECT_FALSE(recordings.find({2, 1, 32, 100}, 200)) << "other heads";
}

TEST(Recorded, AFileOfAnotherFormIsBadInput) {
  for (const std::string& text :
       {std::string("{"), std::string("{}"), std::string(R"({"dense_decode_bf16": [{}]})"),
        file_of(R"("cold_us": 5)"), file_of(R"("x": [1])"), file_of(R"("x": [0, 1])")}) {
    Recordings recordings;
    try {
      recordings.add("some.json", text, table);
      ADD_FAILURE() << "nothing was thrown for " << text;
    } catch (const BadInput& error) {
      EXPECT_THAT(error.what(), HasSubstr("some.json"));
    }
  }
  EXPECT_THROW(recordings_in({"/nonexistent/file.json"}, table), BadInput);
}

TEST(GeometricMean, OfRatios) {
  EXPECT_DOUBLE_EQ(geometric_mean({2, 0.5}), 1);
  EXPECT_NEAR(geometric_mean({1, 2, 4}), 2, 1e-12);
  EXPECT_EQ(geometric_mean({}), 0);
}

}  // namespace
}  // namespace flashmla::tools
