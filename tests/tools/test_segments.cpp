#include "tools/segments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "support/random.h"
#include "tools/scheduled_plan.h"

namespace flashmla::tools {
namespace {

struct DrawnPlan {
  Problem problem;
  std::vector<std::int32_t> lengths;
};

DrawnPlan draw(support::Random& random) {
  DrawnPlan drawn;
  drawn.problem.batch = random.log_between(1, 64);
  drawn.problem.query_heads = random.pick({1, 16, 128});
  drawn.problem.max_pages = 200;
  drawn.problem.max_workers = static_cast<std::int32_t>(random.log_between(1, 200));
  drawn.problem.batch_invariant = random.chance(0.5);
  for (std::int64_t r = 0; r < drawn.problem.batch; ++r)
    drawn.lengths.push_back(
        random.chance(0.2) ? 0 : static_cast<std::int32_t>(random.log_between(1, 200 * 64)));
  return drawn;
}

// The blocks of each request come once and in order. Its segments are numbered from 0, and their
// number is as stated.
TEST(Segments, CoverEveryBlockOnce) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  for (int i = 0; i < 200; ++i) {
    const DrawnPlan drawn = draw(random);
    support::HostMemory memory;
    const ScheduledPlan scheduled(drawn.problem, drawn.lengths, memory);
    const ScheduleView view = scheduled.plan().view();
    std::map<std::int32_t, std::vector<Segment>> by_request;
    const auto requests = static_cast<std::int32_t>(drawn.problem.batch);
    for (std::int32_t w = 0; w < view.workers; ++w)
      for (const Segment& segment : worker_segments(view, requests, w))
        by_request[segment.request].push_back(segment);
    ASSERT_EQ(by_request.size(), drawn.lengths.size()) << "plan " << i;
    for (const auto& [request, segments] : by_request) {
      ASSERT_EQ(std::ssize(segments), segments_of(view, request)) << "plan " << i;
      const std::int32_t tokens = drawn.lengths[request];
      std::int32_t next = 0;
      for (std::size_t s = 0; s < segments.size(); ++s) {
        EXPECT_EQ(segments[s].split, static_cast<std::int32_t>(s)) << "plan " << i;
        EXPECT_EQ(segments[s].first_block, next) << "plan " << i;
        EXPECT_EQ(segments[s].end_block > segments[s].first_block, tokens > 0) << "plan " << i;
        next = segments[s].end_block;
      }
      EXPECT_EQ(next, (tokens + view.block_tokens - 1) / view.block_tokens);
    }
  }
}

}  // namespace
}  // namespace flashmla::tools
