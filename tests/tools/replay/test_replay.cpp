// A whole replay through the library. Right results pass the oracle, and wrong appends do not.
#include "tools/replay/replay.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "support/random.h"
#include "tools/replay/selection.h"
#include "tools/replay/verify.h"

namespace flashmla::tools {
namespace {

// A few requests on few pages, so that pages are reused. Some prompts and some answers are empty.
std::vector<Request> small_trace(support::Random& random) {
  std::vector<Request> requests = {{0, 0, 3}, {0, 40, 0}};
  double clock = 0;
  for (int i = 0; i < 12; ++i) {
    clock += random.unit() * 0.2;
    requests.push_back({.arrival = clock,
                        .context = static_cast<std::int32_t>(random.between(0, 120)),
                        .generated = static_cast<std::int32_t>(random.between(1, 12))});
  }
  return requests;
}

ReplayOptions small_options(std::uint64_t seed) {
  ReplayOptions options;
  options.server = {
      .max_batch = 5, .pages = 60, .page_size = 8, .drafts = 1, .step_seconds = 0.03, .seed = seed};
  options.heads = 4;
  options.layers = 2;
  options.samples = 150;
  return options;
}

struct Checked {
  Served served;
  Verdict verdict;
};

Checked replay(const std::vector<Request>& requests, const ReplayOptions& options,
               const Append& append = {}) {
  const Forecast forecast = forecast_of(requests, options.server, options.format);
  EngineOptions engine_settings = engine_options(options, forecast);
  if (append)
    engine_settings.append = append;
  support::HostMemory memory;
  Engine engine(engine_settings, memory);
  std::int64_t advanced = 0;
  Checked checked;
  checked.served =
      serve(requests, options, forecast, engine, [&](std::int64_t amount) { advanced += amount; });
  EXPECT_EQ(advanced, forecast.token_steps);
  EXPECT_EQ(checked.served.counts.steps, forecast.steps);
  EXPECT_EQ(std::ssize(checked.served.steps), forecast.steps);
  const VerifyOptions settings{
      .seed = options.server.seed,
      .type = engine_settings.format == KvFormat::fp16 ? DType::fp16 : DType::bf16,
      .format = options.format,
      .drafts = options.server.drafts,
      .qk_dim = replay_qk_dim(options.format)};
  checked.verdict = verify(checked.served.samples, requests, settings, [](std::int64_t) {});
  return checked;
}

class Replay : public ::testing::Test {
 protected:
  void expect_right(const ReplayOptions& options) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed_);
    const Checked checked = replay(requests_, options);
    EXPECT_EQ(checked.verdict.checked, options.samples);
    EXPECT_TRUE(checked.verdict.passed()) << checked.verdict.mismatches.front();
    EXPECT_GT(checked.verdict.errors.out_row.worst, 0) << "nothing was compared";
    EXPECT_TRUE(checked.served.counts.rejected.empty());
  }

  std::uint64_t seed_ = support::fresh_seed();
  support::Random random_{seed_};
  std::vector<Request> requests_ = small_trace(random_);
  ReplayOptions options_ = small_options(seed_);
};

TEST_F(Replay, PassesTheOracle) {
  expect_right(options_);
}

TEST_F(Replay, PassesTheOracleInFp16) {
  options_.format = KvFormat::fp16;
  expect_right(options_);
}

TEST_F(Replay, PassesTheOracleWithDrafts) {
  options_.server.drafts = 3;
  expect_right(options_);
}

TEST_F(Replay, PassesTheOracleOnPagesOfOneToken) {
  options_.server.page_size = 1;
  options_.server.pages = 480;
  expect_right(options_);
}

TEST_F(Replay, PassesTheOracleOverFp8Caches) {
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4})
    for (const std::int64_t drafts : {1, 3}) {
      options_.format = format;
      options_.server.drafts = drafts;
      expect_right(options_);
    }
}

// More tokens than the lists may name: 2,048, or 128 and 512 rows of four tokens each.
TEST_F(Replay, PassesTheOracleWhereListsAreShorterThanTheRequest) {
  requests_ = {{0, 2300, 2}, {0, 700, 3}};
  options_.server.pages = 420;
  options_.samples = 24;
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4}) {
    options_.format = format;
    expect_right(options_);
  }
}

TEST_F(Replay, SeesAWrongRowOfTheExtraCache) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed_);
  requests_ = {{0, 200, 10}};
  options_.format = KvFormat::v4;
  const Checked checked = replay(requests_, options_,
                                 [&](const TensorView& cache, KvFormat format,
                                     const TensorView& rows, const TensorView& slots) {
                                   if (cache.shape[1] == options_.server.page_size)
                                     flashmla::append(cache, format, rows, slots);
                                 });
  EXPECT_FALSE(checked.verdict.passed());
}

TEST_F(Replay, ChecksAllResultsWhereThereAreFewer) {
  requests_ = {{0, 5, 2}};
  options_.samples = 1000;
  const Checked checked = replay(requests_, options_);
  EXPECT_EQ(checked.verdict.checked, 2 * options_.heads * options_.layers);
  EXPECT_TRUE(checked.verdict.passed());
}

TEST_F(Replay, NothingToServeEndsWell) {
  requests_ = {{0, 4000, 1}, {1, 0, 0}};
  const Checked checked = replay(requests_, options_);
  EXPECT_EQ(checked.served.counts.rejected.size(), 1u);
  EXPECT_EQ(checked.served.counts.served, 1);
  EXPECT_EQ(checked.verdict.checked, 0);
  EXPECT_TRUE(checked.verdict.passed());
}

TEST_F(Replay, SameSeedSameNumbers) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed_);
  const Checked first = replay(requests_, options_);
  const Checked second = replay(requests_, options_);
  ReplayOptions other = options_;
  other.server.seed = seed_ + 1;
  const Checked third = replay(requests_, other);
  ASSERT_EQ(first.served.samples.size(), second.served.samples.size());
  bool differs = false;
  for (std::size_t i = 0; i < first.served.samples.size(); ++i) {
    const Sample& a = first.served.samples[i];
    const Sample& b = second.served.samples[i];
    EXPECT_EQ(a.step, b.step);
    EXPECT_EQ(a.request, b.request);
    EXPECT_EQ(a.head, b.head);
    EXPECT_EQ(a.out, b.out);
    EXPECT_EQ(a.lse, b.lse);
    differs = differs || a.out != third.served.samples[i].out;
  }
  EXPECT_TRUE(differs);
}

// A slot that is not written keeps a stale row of an earlier request, or NaN.
TEST_F(Replay, SeesAnAppendThatSkipsRows) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed_);
  std::int64_t rows_seen = 0;
  const Checked checked = replay(
      requests_, options_,
      [&](const TensorView& cache, KvFormat format, const TensorView& rows,
          const TensorView& slots) {
        std::vector<std::int64_t> changed(static_cast<std::size_t>(slots.shape[0]));
        std::memcpy(changed.data(), slots.data, changed.size() * sizeof(std::int64_t));
        for (std::int64_t& slot : changed)
          if (++rows_seen % 20 == 0)
            slot = -1;
        flashmla::append(cache, format, rows, {changed.data(), DType::i64, {std::ssize(changed)}});
      });
  ASSERT_FALSE(checked.verdict.passed());
  EXPECT_NE(checked.verdict.mismatches.front().find("step "), std::string::npos);
  EXPECT_NE(checked.verdict.mismatches.front().find("request "), std::string::npos);
  EXPECT_NE(checked.verdict.mismatches.front().find("head "), std::string::npos);
}

TEST_F(Replay, SeesOneRowWithAnotherRowsNumbers) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed_);
  requests_ = {{0, 100, 10}};
  bool planted = false;
  const Checked checked = replay(
      requests_, options_,
      [&](const TensorView& cache, KvFormat format, const TensorView& rows,
          const TensorView& slots) {
        flashmla::append(cache, format, rows, slots);
        if (planted || slots.shape[0] < 100)
          return;
        planted = true;  // the prompt of the first layer has row 40 also in the place of row 41
        auto* elements = static_cast<std::uint16_t*>(rows.data);
        TensorView row(elements + 40 * 576, rows.dtype, {1, 1, 576});
        std::int64_t slot = static_cast<const std::int64_t*>(slots.data)[41];
        flashmla::append(cache, format, row, {&slot, DType::i64, {1}});
      });
  ASSERT_TRUE(planted);
  EXPECT_FALSE(checked.verdict.passed());
}

// Rejected drafts stay in the cache instead of the rows that were accepted later.
TEST_F(Replay, SeesDraftsThatAreNotOverwritten) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed_);
  requests_ = {{0, 3, 40}};
  options_.server.drafts = 4;
  bool began = false;
  const void* first_layer = nullptr;
  const Checked checked =
      replay(requests_, options_,
             [&](const TensorView& cache, KvFormat format, const TensorView& rows,
                 const TensorView& slots) {
               first_layer = first_layer == nullptr ? cache.data : first_layer;
               if (cache.data != first_layer || slots.shape[0] != 4) {
                 flashmla::append(cache, format, rows, slots);
                 return;
               }
               std::vector<std::int64_t> changed(4);
               std::memcpy(changed.data(), slots.data, sizeof(std::int64_t) * 4);
               if (began)
                 changed[0] = -1;
               began = true;
               flashmla::append(cache, format, rows, {changed.data(), DType::i64, {4}});
             });
  EXPECT_FALSE(checked.verdict.passed());
}

TEST_F(Replay, SeesAWrongResult) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed_);
  Checked checked = replay(requests_, options_);
  const VerifyOptions settings{.seed = seed_};
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), 3.0f}) {
    std::vector<Sample> samples = checked.served.samples;
    samples[7].out[100] = wrong;
    samples[9].lse = wrong * 10;
    EXPECT_EQ(verify(samples, requests_, settings, [](std::int64_t) {}).mismatches.size(), 2u);
  }
}

}  // namespace
}  // namespace flashmla::tools
