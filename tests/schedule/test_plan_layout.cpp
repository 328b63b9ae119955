// The arrays of the plan workspace are aligned, do not overlap, and lie inside its size.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "tests/schedule/drawn_batch.h"

namespace flashmla::schedule {

namespace {

TEST(PlanLayout, SlicesAreAlignedAndDoNotOverlap) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 500; ++i) {
    const Batch batch = draw_batch(seed + i, false);
    SCOPED_TRACE(testing::Message() << "seed " << seed + i << ": " << batch);
    const PlanLayout layout(batch.params);
    const auto requests = static_cast<std::size_t>(batch.params.requests);
    const auto workers = static_cast<std::size_t>(batch.params.workers);
    std::vector<std::pair<std::size_t, std::size_t>> slices{
        {layout.status, sizeof(std::int32_t)},
        {layout.work, workers * 8 * sizeof(std::int32_t)},
        {layout.split_offset, (requests + 1) * sizeof(std::int32_t)},
        {layout.lengths, requests * sizeof(std::int32_t)},
        {layout.line, (requests + 1) * sizeof(LinePlace<std::int64_t>)},
        {layout.split_list, (workers + 1) * sizeof(SplitRequest)},
        {layout.cuts, (workers + 1) * sizeof(Cut)}};
    std::sort(slices.begin(), slices.end());
    std::size_t end = 0;
    for (const auto& [offset, size] : slices) {
      ASSERT_EQ(offset % workspace_alignment, 0u);
      ASSERT_GE(offset, end);
      end = offset + size;
    }
    ASSERT_GE(layout.bytes, end);
  }
}

TEST(PlanLayout, PointersLieAtTheirOffsets) {
  const Batch batch = draw_batch(support::fresh_seed(), false);
  const PlanLayout layout(batch.params);
  std::vector<std::int64_t> workspace(layout.bytes / sizeof(std::int64_t) + 1);
  const PlanMemory memory(layout, workspace.data());
  const auto offset = [&](const void* part) {
    return static_cast<std::size_t>(static_cast<const char*>(part) -
                                    reinterpret_cast<const char*>(workspace.data()));
  };
  EXPECT_EQ(offset(memory.status), layout.status);
  EXPECT_EQ(offset(memory.work), layout.work);
  EXPECT_EQ(offset(memory.split_offset), layout.split_offset);
  EXPECT_EQ(offset(memory.lengths), layout.lengths);
  EXPECT_EQ(offset(memory.line), layout.line);
  EXPECT_EQ(offset(memory.split_list), layout.split_list);
  EXPECT_EQ(offset(memory.cuts), layout.cuts);
}

}  // namespace

}  // namespace flashmla::schedule
