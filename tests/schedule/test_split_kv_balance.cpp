// How evenly a schedule divides the work: the longest worker is compared with a lower bound for
// every schedule.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/schedule/drawn_batch.h"

namespace flashmla::schedule {

namespace {

struct Load {
  double fast_worker = 0;  // ns, the longest fast worker
  double slow_worker = 0;  // ns, the longest slow worker
  double total = 0;        // ns of all blocks and of all segments of the schedule
  double largest_segment = 0;
};

Load load_of(const Batch& batch) {
  Load load;
  const auto shares = busy_segments_of(batch, make_schedule(batch));
  for (std::size_t w = 0; w < shares.size(); ++w) {
    double worker = 0;
    for (const Segment& segment : shares[w]) {
      const double cost = static_cast<double>(batch.params.cost.segment_ns) +
                          (static_cast<double>(segment.end_block) - segment.first_block) *
                              batch.params.cost.block_ns;
      worker += cost;
      load.largest_segment = std::max(load.largest_segment, cost);
    }
    const bool fast = w < static_cast<std::size_t>(batch.params.speeds.fast_workers);
    double& longest = fast ? load.fast_worker : load.slow_worker;
    longest = std::max(longest, worker);
    load.total += worker;
  }
  return load;
}

// The share of a worker in the longest request, which is cut as often as its cap allows.
double largest_share(const Batch& batch) {
  std::int64_t blocks = 1;
  for (std::int32_t r = 0; r < batch.params.requests; ++r)
    blocks = std::max(blocks, batch.blocks(r));
  const CostModel& cost = batch.params.cost;
  return static_cast<double>(blocks) * cost.block_ns /
             split_cap(static_cast<std::int32_t>(blocks), cost) +
         cost.segment_ns;
}

void expect_balanced(const Batch& batch) {
  const Load load = load_of(batch);
  const CostModel& cost = batch.params.cost;
  const WorkerSpeeds& speeds = batch.params.speeds;
  const double share = load.total / speeds.total(batch.params.workers);
  const auto bound = [&](std::int32_t speed) {
    return 1.05 * std::max(share * speed, largest_share(batch)) + cost.block_ns + cost.segment_ns;
  };
  ASSERT_LE(load.fast_worker, bound(speeds.fast));
  ASSERT_LE(load.slow_worker, bound(speeds.slow));
}

TEST(SplitKvBalance, KeepsTheLongestWorkerNearTheMean) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 5000; ++i) {
    const Batch batch = draw_batch(seed + i, false);
    SCOPED_TRACE(testing::Message() << "seed " << seed + i << ": " << batch);
    ASSERT_NO_FATAL_FAILURE(expect_balanced(batch));
  }
}

// Lengths around the places where the number of segments changes, with one request or a few.
TEST(SplitKvBalance, HoldsForFewRequestsOfAnyLength) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  const std::vector<CostModel> models = all_cost_models();
  for (std::int32_t blocks = 1; blocks < 3000; ++blocks) {
    const auto requests = static_cast<std::size_t>(random.between(1, 3));
    const auto workers = static_cast<std::int32_t>(random.log_between(1, 400));
    const Batch batch = batch_of(std::vector<std::int32_t>(requests, blocks * 64), workers,
                                 random.pick(std::span<const CostModel>(models)));
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << batch);
    ASSERT_NO_FATAL_FAILURE(expect_balanced(batch));
  }
}

// Requests of equal length get workers of their own: no worker has two requests, and where the
// number of blocks can be divided evenly all segments are equally long.
TEST(SplitKvBalance, GivesEqualRequestsTheirOwnWorkers) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  for (int i = 0; i < 1000; ++i) {
    const auto requests = static_cast<std::int32_t>(random.between(2, 40));
    const auto own = static_cast<std::int32_t>(random.between(1, 5));
    const auto length = static_cast<std::int32_t>(64 * own * random.between(6, 200));
    const Batch batch = batch_of(std::vector<std::int32_t>(requests, length), requests * own,
                                 hopper_cost_model(128, 64));
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << batch);
    for (const auto& share : segments_of(batch, make_schedule(batch))) {
      ASSERT_EQ(share.size(), 1u);
      ASSERT_EQ(share[0].end_block - share[0].first_block, batch.blocks(0) / own);
    }
  }
}

// A request that is twice as long as the others gets more workers than they.
TEST(SplitKvBalance, GivesALongerRequestMoreWorkers) {
  const Batch batch = batch_of({6400, 12800, 6400, 6400}, 40, hopper_cost_model(128, 64));
  const Schedule schedule = make_schedule(batch);
  const auto parts = [&](std::int32_t r) {
    return schedule.split_offset[r + 1] - schedule.split_offset[r];
  };
  EXPECT_GT(parts(1), parts(0) + 4);
  ASSERT_NO_FATAL_FAILURE(expect_balanced(batch));
}

// One long request among many short ones stays balanced, whatever its cap is.
TEST(SplitKvBalance, CutsOneLongRequestAmongManyWorkers) {
  const Batch batch = batch_of({1 << 20}, 132, hopper_cost_model(128, 64));
  const auto shares = segments_of(batch, make_schedule(batch));
  const auto busy = std::count_if(shares.begin(), shares.end(), [](auto& s) { return !s.empty(); });
  EXPECT_EQ(busy, 132);
}

TEST(SplitKvBalance, BatchInvariantStaysWithinOnePieceOfTheMean) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 5000; ++i) {
    const Batch batch = draw_batch(seed + i, true);
    SCOPED_TRACE(testing::Message() << "seed " << seed + i << ": " << batch);
    const Load load = load_of(batch);
    ASSERT_LE(load.slow_worker, load.total / batch.params.workers + load.largest_segment);
  }
}

}  // namespace

}  // namespace flashmla::schedule
