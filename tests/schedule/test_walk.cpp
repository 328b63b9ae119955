// The promises of a walk over a schedule with any numbers. test_split_kv.cpp has the walk over a
// valid schedule.
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "schedule/walk.h"
#include "support/random.h"

namespace flashmla::schedule {

namespace {

class HostileWalk {
 public:
  explicit HostileWalk(support::Random& random) : random_(random) {
    const auto requests = static_cast<std::int32_t>(random.between(0, 6));
    for (std::int32_t i = 0; i <= requests; ++i) {
      lengths_.push_back(number());
      split_offset_.push_back(number());
    }
    lengths_.pop_back();
    walk_ = {.lengths = lengths_.data(),
             .split_offset = split_offset_.data(),
             .requests = requests,
             .workers = static_cast<std::int32_t>(random.between(1, 5)),
             .block_tokens = random.pick({1, 64}),
             .max_tokens = random.pick({0, 1, 500, std::numeric_limits<std::int32_t>::max()}),
             .partials = random.pick({0, 1, 40})};
    tile_ = {number(), number(), number(), number(), number(), number(), number(), number()};
  }

  void expect_inside() const {
    std::int64_t segments = 0;
    for_each_segment(walk_, tile_, walk_.workers - 1, [&](const Segment& segment) {
      ++segments;
      ASSERT_TRUE(segment.request >= 0 && segment.request < walk_.requests) << segment.request;
      ASSERT_TRUE(segment.length >= 0 && segment.length <= walk_.max_tokens) << segment.length;
      ASSERT_TRUE(segment.first_block >= 0 && segment.first_block <= segment.end_block);
      ASSERT_LE(segment.end_block, blocks_of(segment.length, walk_.block_tokens));
      ASSERT_TRUE(segment.partial >= -1 && segment.partial < walk_.partials) << segment.partial;
    });
    // A request without tokens may come a second time, where it lies in the share of a worker too.
    ASSERT_LE(segments, std::int64_t{walk_.requests} * (max_pieces + 1));
  }

 private:
  std::int32_t number() {
    constexpr std::int32_t min_value = std::numeric_limits<std::int32_t>::min();
    constexpr std::int32_t max_value = std::numeric_limits<std::int32_t>::max();
    return random_.pick({static_cast<std::int32_t>(random_.next()),
                         static_cast<std::int32_t>(random_.between(-3, 40)), 0, 1, 3, -1, min_value,
                         max_value, max_value - 1, 1 << 20});
  }

  support::Random& random_;
  std::vector<std::int32_t> lengths_;
  std::vector<std::int32_t> split_offset_;
  Walk walk_;
  WorkRow tile_;
};

TEST(Walk, StaysInsideOfTheBatchWhateverAScheduleHolds) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  for (int i = 0; i < 300000; ++i) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", schedule " << i);
    ASSERT_NO_FATAL_FAILURE(HostileWalk(random).expect_inside());
  }
}

}  // namespace

}  // namespace flashmla::schedule
