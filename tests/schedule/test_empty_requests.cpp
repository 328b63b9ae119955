// Requests without tokens cost nothing in the division: whatever their number and wherever they
// stand, the others are cut as without them. Their results are dealt out among the workers.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/schedule/drawn_batch.h"

namespace flashmla::schedule {

namespace {

// A batch with empty requests among the others.
struct PaddedBatch {
  Batch batch;
  std::vector<std::int32_t> place;  // [others + 1], their numbers in the batch, and its length
};

// The same requests with tokens; `where`: 0 empty ones behind them, 1 in front, 2 anywhere.
PaddedBatch pad(const Batch& others, support::Random& random, std::int64_t where) {
  PaddedBatch padded{others, {}};
  const auto count = static_cast<std::size_t>(random.log_between(1, 400));
  padded.batch.lengths.insert(
      where == 0 ? padded.batch.lengths.end() : padded.batch.lengths.begin(), count, 0);
  if (where == 2) {
    // Empty ones change places with those behind them, whose order stays as it is.
    std::vector<bool> empty(padded.batch.lengths.size());
    for (std::size_t i = 0; i < count; ++i)
      empty[i] = true;
    for (std::size_t i = empty.size(); i > 1; --i) {
      const auto j = static_cast<std::size_t>(random.between(0, static_cast<std::int64_t>(i) - 1));
      const bool kept = empty[i - 1];
      empty[i - 1] = empty[j];
      empty[j] = kept;
    }
    auto next = others.lengths.begin();
    for (std::size_t i = 0; i < empty.size(); ++i)
      padded.batch.lengths[i] = empty[i] ? 0 : *next++;
  }
  padded.batch.params.requests = static_cast<std::int32_t>(padded.batch.lengths.size());
  for (std::int32_t r = 0; r < padded.batch.params.requests; ++r)
    if (padded.batch.lengths[r] > 0)
      padded.place.push_back(r);
  padded.place.push_back(padded.batch.params.requests);
  return padded;
}

Batch without_empty_requests(Batch batch) {
  std::erase(batch.lengths, 0);
  batch.params.requests = static_cast<std::int32_t>(batch.lengths.size());
  return batch;
}

// What the others' schedule is where they have other numbers.
Schedule renumbered(Schedule schedule, const std::vector<std::int32_t>& place) {
  for (WorkRow& tile : schedule.work) {
    const bool idle = tile.last_request < tile.first_request;
    tile.first_request = place[tile.first_request];
    tile.last_request = idle ? tile.first_request - 1 : place[tile.last_request];
    tile.flags |= empty_requests;
  }
  for (SplitRequest& entry : schedule.split_list)
    entry.request = place[entry.request];
  std::vector<std::int32_t> offsets;
  std::size_t other = 0;
  for (std::int32_t r = 0; r <= place.back(); ++r) {
    offsets.push_back(schedule.split_offset[other]);
    if (r == place[other])
      ++other;
  }
  schedule.split_offset = offsets;
  return schedule;
}

class EmptyRequests : public testing::TestWithParam<bool> {};

TEST_P(EmptyRequests, ChangeNothingForTheOthers) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const Batch others = without_empty_requests(draw_batch(seed + i, GetParam()));
    const PaddedBatch padded = pad(others, random, static_cast<std::int64_t>(i % 3));
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", batch " << i << ": " << padded.batch);
    const Schedule wanted = renumbered(make_schedule(others), padded.place);
    ASSERT_TRUE(make_schedule(padded.batch) == wanted);
    if (line_fits_32_bits(padded.batch.params, padded.batch.longest())) {
      ASSERT_TRUE(make_schedule<std::int32_t>(padded.batch) == wanted);
    }
  }
}

// With as many requests as workers or fewer, each may have workers of its own. Twelve requests are
// such a batch, and sixteen of which four are empty are the same.
TEST_P(EmptyRequests, DoNotCountWhereRequestsHaveWorkersOfTheirOwn) {
  for (const std::int32_t workers : {12, 36, 66, 132}) {
    const Batch others = batch_of(std::vector<std::int32_t>(12, 6400), workers,
                                  hopper_cost_model(128, 64), GetParam());
    support::Random random(support::fresh_seed());
    const PaddedBatch padded = pad(others, random, 2);
    ASSERT_TRUE(make_schedule(padded.batch) == renumbered(make_schedule(others), padded.place));
  }
}

// Nobody writes more results of empty requests than there are requests for each worker; and those
// that fill a batch up go to the last workers, one each.
TEST_P(EmptyRequests, AreDealtOut) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  for (std::uint64_t i = 0; i < 500; ++i) {
    const Batch others = without_empty_requests(draw_batch(seed + i, GetParam()));
    const PaddedBatch padded = pad(others, random, 0);
    const SplitParams& params = padded.batch.params;
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", batch " << i << ": " << padded.batch);
    const auto shares = segments_of(padded.batch, make_schedule(padded.batch));
    const std::int32_t empty = params.requests - others.params.requests;
    for (std::int32_t w = 0; w < params.workers; ++w) {
      const auto written = std::ranges::count(shares[w], 0, &Segment::length);
      const std::int32_t turns = params.workers - 1 - w;  // until it is this worker's
      ASSERT_EQ(written, turns < empty ? 1 + (empty - turns - 1) / params.workers : 0) << w;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, EmptyRequests, testing::Bool(), [](const auto& mode) {
  return mode.param ? "BatchInvariant" : "Balanced";
});

}  // namespace

}  // namespace flashmla::schedule
