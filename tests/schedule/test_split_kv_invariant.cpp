// Batch-invariant mode: the cuts of a request depend only on its own length.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "tests/schedule/drawn_batch.h"

namespace flashmla::schedule {

namespace {

// The first block, end block and number of each segment of a request, whichever worker computes it.
std::vector<std::array<std::int32_t, 3>> cut_of(const Batch& batch, std::int32_t request) {
  std::vector<std::array<std::int32_t, 3>> cut;
  for (const auto& share : segments_of(batch, make_schedule(batch)))
    for (const Segment& segment : share)
      if (segment.request == request)
        cut.push_back({segment.first_block, segment.end_block, segment.split});
  return cut;
}

TEST(SplitKvInvariant, IgnoresTheOtherRequestsAndTheWorkers) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Batch batch = draw_batch(seed + i, true);
    if (batch.params.requests == 0)
      continue;
    support::Random random(seed + i);
    const auto request = static_cast<std::int32_t>(random.between(0, batch.params.requests - 1));
    SCOPED_TRACE(testing::Message()
                 << "seed " << seed + i << " request " << request << ": " << batch);
    Batch alone = batch;
    alone.params.requests = 1;
    alone.params.workers = static_cast<std::int32_t>(random.log_between(1, 300));
    alone.lengths = {batch.lengths[request]};
    ASSERT_EQ(cut_of(batch, request), cut_of(alone, 0));
  }
}

TEST(SplitKvInvariant, MakesFewPiecesOfEqualLength) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const Batch batch = draw_batch(seed + i, true);
    SCOPED_TRACE(testing::Message() << "seed " << seed + i << ": " << batch);
    for (const auto& share : segments_of(batch, make_schedule(batch)))
      for (const Segment& segment : share) {
        const std::int64_t blocks = batch.blocks(segment.request);
        const std::int64_t length = segment.end_block - segment.first_block;
        ASSERT_LT(segment.split, max_pieces);
        if (segment.end_block == blocks)
          continue;
        ASSERT_GT(2 * length, min_piece_blocks);
        ASSERT_EQ(segment.first_block, length * segment.split);
      }
  }
}

TEST(SplitKvInvariant, CutsALongRequestAtAll) {
  const Batch batch = batch_of({1 << 20}, 8, hopper_cost_model(64, 64), true);
  EXPECT_EQ(cut_of(batch, 0).size(), static_cast<std::size_t>(max_pieces));
}

}  // namespace

}  // namespace flashmla::schedule
