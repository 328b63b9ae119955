// The text of a schedule has the figures of the schedule.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schedule/describe.h"
#include "tests/schedule/drawn_batch.h"

namespace flashmla::schedule {

namespace {

using testing::HasSubstr;

std::string text_of(Batch& batch) {
  Schedule schedule = make_schedule(batch);
  const PlanLayout layout(batch.params);
  std::vector<std::int64_t> workspace(layout.bytes / sizeof(std::int64_t) + 1);
  const PlanMemory memory(layout, workspace.data());
  std::copy(schedule.work.begin(), schedule.work.end(), memory.work);
  std::copy(schedule.split_offset.begin(), schedule.split_offset.end(), memory.split_offset);
  std::copy(batch.lengths.begin(), batch.lengths.end(), memory.lengths);
  return describe(batch.params, memory);
}

TEST(Describe, NamesEveryBusyWorkerAndItsLoad) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 50; ++i) {
    Batch batch = draw_batch(seed + i, i % 2 == 0);
    SCOPED_TRACE(testing::Message() << "seed " << seed + i << ": " << batch);
    const std::string text = text_of(batch);
    EXPECT_THAT(text, HasSubstr(std::to_string(batch.params.requests) + " requests"));
    const auto shares = segments_of(batch, make_schedule(batch));
    for (std::size_t w = 0; w < shares.size(); ++w) {
      const std::string worker = "worker " + std::to_string(w) + ": ";
      const std::size_t line = text.find(worker);
      ASSERT_EQ(line == std::string::npos, shares[w].empty()) << worker;
      if (shares[w].empty())
        continue;
      std::int64_t blocks = 0;
      for (const Segment& segment : shares[w])
        blocks += segment.end_block - segment.first_block;
      const std::string row = text.substr(line, text.find('\n', line) - line);
      EXPECT_THAT(row, HasSubstr(testing::PrintToString(shares[w].size()) + " segment"));
      EXPECT_THAT(row, HasSubstr(testing::PrintToString(blocks) + " block"));
    }
  }
}

TEST(Describe, CopesWithAnEmptyBatch) {
  Batch batch = batch_of({}, 4, cpu_cost_model(16));
  EXPECT_THAT(text_of(batch), HasSubstr("0 requests"));
}

}  // namespace

}  // namespace flashmla::schedule
