// The promises of every schedule: each block of each request comes once and in order; segments are
// numbered from 0; split_offset agrees with the segments; no request has more segments than its
// cap; each request without tokens has one segment without blocks.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "tests/schedule/drawn_batch.h"

namespace flashmla::schedule {

namespace {

// The text is empty where the segments of each worker continue where those of the previous one
// ended, up to the end of the batch.
std::string fault_in_coverage(const Batch& batch, const Schedule& schedule,
                              std::vector<std::int32_t>& segments) {
  std::int32_t request = 0;
  std::int64_t block = 0;
  segments.assign(batch.params.requests, 0);
  const auto skip_empty = [&] {
    while (request < batch.params.requests && batch.lengths[request] == 0)
      ++request;
  };
  skip_empty();
  for (const auto& share : busy_segments_of(batch, schedule))
    for (const Segment& segment : share) {
      if (segment.request != request || segment.first_block != block)
        return testing::PrintToString(segment.request) + " begins at block " +
               testing::PrintToString(segment.first_block) + ", wanted request " +
               testing::PrintToString(request) + " block " + testing::PrintToString(block);
      if (segment.end_block <= segment.first_block || segment.end_block > batch.blocks(request))
        return "request " + testing::PrintToString(request) + " ends at block " +
               testing::PrintToString(segment.end_block);
      if (segment.split != segments[request]++)
        return "request " + testing::PrintToString(request) + " has split " +
               testing::PrintToString(segment.split) + " out of order";
      if (segment.length != batch.lengths[request])
        return "request " + testing::PrintToString(request) + " has length " +
               testing::PrintToString(segment.length);
      const std::int32_t* offset = schedule.split_offset.data() + request;
      if (segment.partial != (offset[1] == offset[0] ? -1 : offset[0] + segment.split))
        return "request " + testing::PrintToString(request) + " has its result at " +
               testing::PrintToString(segment.partial);
      block = segment.end_block;
      if (block == batch.blocks(request)) {
        ++request;
        block = 0;
        skip_empty();
      }
    }
  return request == batch.params.requests && block == 0 ? "" : "blocks are left over at the end";
}

// The text is empty where each request without tokens has one segment, behind the segments of other
// requests.
std::string fault_in_empty_requests(const Batch& batch, const Schedule& schedule) {
  std::vector<std::int32_t> found(batch.params.requests, 0);
  for (const auto& share : segments_of(batch, schedule)) {
    bool behind = false;
    for (const Segment& segment : share) {
      if (segment.length > 0 && behind)
        return "request " + testing::PrintToString(segment.request) + " comes behind empty ones";
      if (segment.length > 0)
        continue;
      behind = true;
      ++found[segment.request];
      if (segment.first_block != 0 || segment.end_block != 0 || segment.split != 0 ||
          segment.partial != -1)
        return "request " + testing::PrintToString(segment.request) + " has a part of something";
    }
  }
  for (std::int32_t r = 0; r < batch.params.requests; ++r)
    if (found[r] != (batch.lengths[r] == 0 ? 1 : 0))
      return "request " + testing::PrintToString(r) + " is written " +
             testing::PrintToString(found[r]) + " times";
  return "";
}

// The list names each split request once, at the worker that begins with its second segment.
void expect_sound_list(const Batch& batch, const Schedule& schedule,
                       const std::vector<std::int32_t>& segments) {
  std::vector<std::int32_t> listed(batch.params.requests, 0);
  std::int32_t steps = 0;
  for (std::int32_t w = 0; w <= batch.params.workers; ++w) {
    const SplitRequest& entry = schedule.split_list[w];
    ASSERT_EQ(entry.steps_before, steps) << "worker " << w;
    steps += combine_steps(entry.splits);
    if (entry.splits == 0)
      continue;
    ASSERT_LT(w, batch.params.workers);
    ASSERT_EQ(schedule.work[w].first_request, entry.request);
    ASSERT_EQ(schedule.work[w].first_split, 1);
    ASSERT_EQ(entry.first_partial, schedule.split_offset[entry.request]);
    listed[entry.request] += entry.splits;
  }
  for (std::int32_t r = 0; r < batch.params.requests; ++r)
    ASSERT_EQ(listed[r], segments[r] > 1 && !batch.params.batch_invariant ? segments[r] : 0)
        << "request " << r;
}

void expect_sound(const Batch& batch) {
  const Schedule schedule = make_schedule(batch);
  std::vector<std::int32_t> segments;
  ASSERT_EQ(fault_in_coverage(batch, schedule, segments), "");
  ASSERT_EQ(fault_in_empty_requests(batch, schedule), "");
  ASSERT_EQ(schedule.split_offset[0], 0);
  ASSERT_NO_FATAL_FAILURE(expect_sound_list(batch, schedule, segments));
  std::int64_t max_blocks = 1;
  for (std::int32_t r = 0; r < batch.params.requests; ++r) {
    const std::int32_t partials = schedule.split_offset[r + 1] - schedule.split_offset[r];
    ASSERT_EQ(partials, segments[r] > 1 ? segments[r] : 0) << "request " << r;
    const auto blocks = static_cast<std::int32_t>(batch.blocks(r));
    ASSERT_LE(segments[r], split_cap(blocks, batch.params.cost)) << "request " << r;
    max_blocks = std::max(max_blocks, batch.blocks(r));
  }
  const std::int64_t max_tokens = std::min<std::int64_t>(max_blocks * batch.params.block_tokens,
                                                         std::numeric_limits<std::int32_t>::max());
  ASSERT_LE(schedule.split_offset.back(), max_partials(batch.params, max_tokens));
  const bool some_empty = std::ranges::find(batch.lengths, 0) != batch.lengths.end();
  for (const WorkRow& tile : schedule.work) {
    ASSERT_EQ(tile.flags, (batch.params.batch_invariant ? fixed_pieces : 0) |
                              (some_empty ? empty_requests : 0));
    const std::int32_t first = tile.first_request;
    const bool empty = tile.last_request < first;
    ASSERT_EQ(tile.first_length, empty ? 0 : batch.lengths[first]);
    ASSERT_EQ(tile.first_partial,
              empty || segments[first] == 1 ? -1 : schedule.split_offset[first]);
  }
}

class SplitKv : public testing::TestWithParam<bool> {
 protected:
  Batch with(std::vector<std::int32_t> lengths, std::int32_t workers,
             std::int32_t block_tokens = 64) const {
    Batch batch = batch_of(std::move(lengths), workers, hopper_cost_model(64, 64), GetParam());
    batch.params.block_tokens = block_tokens;
    return batch;
  }
};

TEST_P(SplitKv, CoversEveryBlockOnceAndInOrder) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 3000; ++i) {
    const Batch batch = draw_batch(seed + i, GetParam());
    SCOPED_TRACE(testing::Message() << "seed " << seed + i << ": " << batch);
    ASSERT_NO_FATAL_FAILURE(expect_sound(batch));
  }
}

TEST_P(SplitKv, IsStableUnderRepetition) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 200; ++i) {
    const Batch batch = draw_batch(seed + i, GetParam());
    SCOPED_TRACE(testing::Message() << "seed " << seed + i << ": " << batch);
    ASSERT_TRUE(make_schedule(batch) == make_schedule(batch));
  }
}

// With 32-bit nanoseconds split_kv makes the same schedule as with 64 bits, up to the longest
// lengths for which line_fits_32_bits() is true.
TEST_P(SplitKv, IsTheSameIn32BitsWhereTheyFit) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  int fits = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Batch batch = draw_batch(seed + i, GetParam());
    SCOPED_TRACE(testing::Message() << "seed " << seed << " batch " << i << ": " << batch);
    if (line_fits_32_bits(batch.params, batch.longest())) {
      ++fits;
      ASSERT_TRUE(make_schedule<std::int32_t>(batch) == make_schedule(batch));
    }
    if (!line_fits_32_bits(batch.params, 0))
      continue;
    std::int32_t max_length = 0;
    for (std::int32_t step = 1 << 30; step > 0; step /= 2)
      if (line_fits_32_bits(batch.params, max_length + step))
        max_length += step;
    for (std::int32_t& length : batch.lengths)
      length = random.chance(0.8) ? max_length
                                  : static_cast<std::int32_t>(random.between(0, max_length));
    ASSERT_TRUE(make_schedule<std::int32_t>(batch) == make_schedule(batch))
        << "up to " << max_length;
  }
  EXPECT_GT(fits, 300);
}

TEST_P(SplitKv, WithoutRequestsLeavesEveryWorkerIdle) {
  for (const std::int32_t workers : {1, 2, 132}) {
    const Batch batch = with({}, workers);
    expect_sound(batch);
    for (const auto& share : segments_of(batch, make_schedule(batch)))
      EXPECT_TRUE(share.empty());
  }
}

TEST_P(SplitKv, GivesARequestWithoutTokensOneSegment) {
  for (const std::int32_t workers : {1, 3, 132}) {
    const Batch batch = with(std::vector<std::int32_t>(50, 0), workers);
    expect_sound(batch);
    EXPECT_EQ(make_schedule(batch).split_offset.back(), 0);
  }
}

TEST_P(SplitKv, TakesTheLongestRequestThatThereIs) {
  constexpr std::int32_t longest = std::numeric_limits<std::int32_t>::max();
  for (const std::int32_t block_tokens : {1, 64, 256})
    for (const std::int32_t workers : {1, 2, 132, 1000}) {
      SCOPED_TRACE(testing::Message() << "block_tokens " << block_tokens << " workers " << workers);
      expect_sound(with({longest}, workers, block_tokens));
      expect_sound(with({0, longest, 1, 64, 65, longest}, workers, block_tokens));
    }
}

TEST_P(SplitKv, TakesTheLargestBatchThatThereIs) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  std::vector<std::int32_t> lengths(131072);
  for (std::int32_t& length : lengths)
    length = static_cast<std::int32_t>(random.between(0, 4096));
  for (const std::int32_t workers : {1, 132}) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << " workers " << workers);
    expect_sound(with(lengths, workers));
  }
}

TEST_P(SplitKv, GivesOneWorkerEverything) {
  const Batch batch = with({1000, 0, 70000, 64, 1}, 1);
  expect_sound(batch);
  const auto shares = segments_of(batch, make_schedule(batch));
  ASSERT_EQ(shares.size(), 1u);
  EXPECT_GE(shares[0].size(), batch.lengths.size());
}

INSTANTIATE_TEST_SUITE_P(Modes, SplitKv, testing::Bool(), [](const auto& mode) {
  return mode.param ? "BatchInvariant" : "Balanced";
});

}  // namespace

}  // namespace flashmla::schedule
