// Many threads make the same schedule as one thread.
#include <gtest/gtest.h>

#include "tests/schedule/drawn_batch.h"
#include "tests/schedule/thread_team.h"

namespace flashmla::schedule {

namespace {

Schedule make_schedule_with(const Batch& batch, std::int32_t threads) {
  Schedule schedule = blank_schedule(batch.params);
  SplitScratch<std::int64_t> scratch(batch.params);
  run_team(threads, [&](const ThreadTeam& team) {
    split_kv(batch.params, batch.lengths.data(), memory_of(schedule, scratch), team);
  });
  return schedule;
}

TEST(SplitKvTeam, MakesTheScheduleOfOneThread) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 300; ++i) {
    const Batch batch = draw_batch(seed + i, i % 2 == 0);
    SCOPED_TRACE(testing::Message() << "seed " << seed + i << ": " << batch);
    const auto threads = static_cast<std::int32_t>(1 + (seed + i) % 9);
    ASSERT_TRUE(make_schedule_with(batch, threads) == make_schedule(batch))
        << threads << " threads";
  }
}

}  // namespace

}  // namespace flashmla::schedule
