// Requests without tokens cost nothing in the division. Whatever their number and their places are,
// the other requests are cut as without them. Their results are dealt out among the workers.
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

// The requests with tokens stay the same. Empty ones are behind them (`where` = 0), in front of
// them (1) or anywhere (2).
PaddedBatch pad(const Batch& others, support::Random& random, std::int64_t where) {
  PaddedBatch padded{others, {}};
  const auto count = static_cast<std::size_t>(random.log_between(1, 400));
  padded.batch.lengths.insert(
      where == 0 ? padded.batch.lengths.end() : padded.batch.lengths.begin(), count, 0);
  if (where == 2) {
    // An empty request changes places with a request behind it. The order of the requests with
    // tokens stays the same.
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

// The schedule of the requests with tokens, with the numbers that they have in the batch.
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

// With at most as many requests as workers, each request may have workers of its own. A batch of
// twelve requests is cut in this way, and so is a batch of sixteen of which four are empty.
TEST_P(EmptyRequests, DoNotCountWhereRequestsHaveWorkersOfTheirOwn) {
  for (const std::int32_t workers : {12, 36, 66, 132}) {
    const Batch others = batch_of(std::vector<std::int32_t>(12, 6400), workers,
                                  hopper_cost_model(128, 64), GetParam());
    support::Random random(support::fresh_seed());
    const PaddedBatch padded = pad(others, random, 2);
    ASSERT_TRUE(make_schedule(padded.batch) == renumbered(make_schedule(others), padded.place));
  }
}

// No worker writes more results of empty requests than the batch has requests for each worker.
// Empty requests that fill up a batch go to the last workers, one to each.
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
      const std::int32_t turns = params.workers - 1 - w;  // they come first
      ASSERT_EQ(written, turns < empty ? 1 + (empty - turns - 1) / params.workers : 0) << w;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, EmptyRequests, testing::Bool(), [](const auto& mode) {
  return mode.param ? "BatchInvariant" : "Balanced";
});

}  // namespace

}  // namespace flashmla::schedule
