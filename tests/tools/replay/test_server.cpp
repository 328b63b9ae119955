#include "tools/replay/server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "support/random.h"
#include "tools/replay/pages.h"
#include "tools/replay/replay.h"

namespace flashmla::tools {
namespace {

std::vector<Request> random_trace(support::Random& random) {
  std::vector<Request> requests;
  double clock = 0;
  for (std::int64_t count = random.between(1, 40); count > 0; --count) {
    clock += random.chance(0.4) ? 0 : random.unit() * (random.chance(0.2) ? 5 : 0.2);
    requests.push_back(
        {.arrival = clock,
         .context = static_cast<std::int32_t>(random.chance(0.1) ? 0 : random.between(0, 300)),
         .generated = static_cast<std::int32_t>(random.chance(0.1) ? 0 : random.between(0, 40))});
  }
  return requests;
}

ServerOptions random_options(support::Random& random, std::int64_t drafts) {
  return {.max_batch = random.between(1, 8),
          .pages = random.between(1, 60),
          .page_size = random.between(1, 24),
          .drafts = drafts,
          .step_seconds = 0.03,
          .seed = random.next()};
}

// The pages of the running requests are distinct and enough, and all other pages are free.
void expect_sound_pages(const Server& server, const ServerOptions& options) {
  std::set<std::int32_t> used;
  std::int64_t count = 0;
  for (const Session& session : server.running()) {
    count += std::ssize(session.pages);
    used.insert(session.pages.begin(), session.pages.end());
    EXPECT_LE(session.position() + options.drafts, std::ssize(session.pages) * options.page_size);
    EXPECT_LT(session.done, session.generated);
  }
  EXPECT_EQ(std::ssize(used), count) << "a page belongs to two requests";
  EXPECT_EQ(server.pages_in_use(), count);
  if (!used.empty()) {
    EXPECT_GE(*used.begin(), 0);
    EXPECT_LT(*used.rbegin(), options.pages);
  }
}

struct Service {
  std::vector<std::int64_t> admitted;
  ServerCounts counts;
  std::vector<std::int64_t> steps_of;  // decode steps of each request
};

Service serve_all(const std::vector<Request>& requests, const ServerOptions& options) {
  Service service{
      .admitted = {}, .counts = {}, .steps_of = std::vector<std::int64_t>(requests.size())};
  Server server(requests, options);
  double clock = 0;
  while (server.next_step([&](const Session& session) {
    service.admitted.push_back(session.request);
    EXPECT_GE(server.clock(), requests[session.request].arrival);
  })) {
    EXPECT_FALSE(server.running().empty());
    EXPECT_LE(std::ssize(server.running()), options.max_batch);
    EXPECT_GE(server.clock(), clock);
    clock = server.clock();
    expect_sound_pages(server, options);
    for (const Session& session : server.running())
      ++service.steps_of[session.request];
    server.finish_step();
  }
  EXPECT_EQ(server.pages_in_use(), 0);
  EXPECT_EQ(server.queued(), 0);
  service.counts = server.counts();
  return service;
}

TEST(Server, ServesOrRejectsEveryRequestInOrder) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 500; ++i) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ", trace " << i);
    support::Random random(support::key_of(seed, i));
    const auto requests = random_trace(random);
    const ServerOptions options = random_options(random, random.between(1, 5));
    const Service service = serve_all(requests, options);

    std::vector<std::int64_t> fitting;
    std::int64_t generated = 0;
    for (std::int64_t r = 0; r < std::ssize(requests); ++r) {
      const Request& request = requests[r];
      const std::int64_t extra = request.generated > 0 ? options.drafts - 1 : 0;
      if (request.context + request.generated + extra > options.pages * options.page_size)
        continue;
      fitting.push_back(r);
      generated += request.generated;
      // Each step accepts at least one draft and at most all of them.
      EXPECT_LE(service.steps_of[r], request.generated);
      EXPECT_GE(service.steps_of[r] * options.drafts, request.generated);
    }
    EXPECT_EQ(service.admitted, fitting) << "first come, first served";
    EXPECT_EQ(service.counts.served, std::ssize(fitting));
    EXPECT_EQ(service.counts.rejected.size(), requests.size() - fitting.size());
    EXPECT_EQ(service.counts.generated_tokens, generated);
    if (::testing::Test::HasFailure())
      return;
  }
}

TEST(Server, TokenStepsFollowTheClosedForm) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 200; ++i) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ", trace " << i);
    support::Random random(support::key_of(seed, i));
    const auto requests = random_trace(random);
    ServerOptions options = random_options(random, 1);
    options.pages = 400;
    std::int64_t expected = 0;
    std::int64_t tokens = 0;
    for (const Request& request : requests) {
      const std::int64_t g = request.generated;
      if (request.context + g > options.pages * options.page_size)
        continue;
      expected += g * request.context + g * (g + 1) / 2;
      tokens += g;
    }
    const Forecast forecast = forecast_of(requests, options);
    EXPECT_EQ(forecast.token_steps, expected);
    EXPECT_EQ(forecast.read_tokens, expected);
    EXPECT_EQ(forecast.query_tokens, tokens);
  }
}

TEST(Server, FullCacheMakesRequestsWait) {
  const std::vector<Request> requests = {{0, 50, 10}, {0, 50, 10}, {0, 1, 1}};
  const ServerOptions options{.max_batch = 8, .pages = 10, .page_size = 10, .step_seconds = 1};
  Server server(requests, options);
  ASSERT_TRUE(server.next_step([](const Session&) {}));
  EXPECT_EQ(server.running().size(), 1u);
  EXPECT_EQ(server.queued(), 2) << "the small request does not overtake";
  for (int step = 0; step < 10; ++step) {
    EXPECT_EQ(server.running().front().request, 0);
    server.finish_step();
    ASSERT_TRUE(server.next_step([](const Session&) {}));
  }
  EXPECT_EQ(server.clock(), 10);
  EXPECT_EQ(server.running().size(), 2u);
  EXPECT_EQ(server.counts().longest_wait, 10);
  EXPECT_EQ(server.counts().waited, 2);
}

TEST(Server, IdleClockJumpsToTheNextArrival) {
  const std::vector<Request> requests = {{2.5, 1, 1}, {100, 1, 1}};
  Server server(requests, {.step_seconds = 0.5});
  ASSERT_TRUE(server.next_step([](const Session&) {}));
  EXPECT_EQ(server.clock(), 2.5);
  server.finish_step();
  ASSERT_TRUE(server.next_step([](const Session&) {}));
  EXPECT_EQ(server.clock(), 100);
  server.finish_step();
  EXPECT_FALSE(server.next_step([](const Session&) {}));
}

TEST(Server, ZeroTokenRequestsEndWell) {
  const std::vector<Request> requests = {{0, 0, 0}, {0, 30, 0}, {0, 0, 3}, {1e300, 0, 0}};
  const Service service = serve_all(requests, {.pages = 4, .page_size = 10});
  EXPECT_EQ(service.counts.served, 4);
  EXPECT_EQ(service.counts.steps, 3);
  EXPECT_EQ(service.counts.generated_tokens, 3);
}

TEST(Server, RejectsWhatNeverFits) {
  const std::vector<Request> requests = {{0, 39, 2}, {0, 38, 2}, {0, 2147483647, 0}};
  const Service service = serve_all(requests, {.pages = 4, .page_size = 10});
  EXPECT_EQ(service.counts.rejected, (std::vector<std::int64_t>{0, 2}));
  EXPECT_EQ(service.counts.served, 1);
}

TEST(Server, DraftsBeyondTheLastTokenHaveTheirPlace) {
  const std::vector<Request> requests = {{0, 8, 2}};
  EXPECT_EQ(serve_all(requests, {.pages = 1, .page_size = 10, .drafts = 1}).counts.served, 1);
  EXPECT_EQ(serve_all(requests, {.pages = 1, .page_size = 10, .drafts = 2}).counts.served, 0);
}

TEST(PagePool, HandsOutEveryPageOnceInAnOrderOfTheSeed) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  PagePool pool(1000, seed);
  std::vector<std::int32_t> pages = pool.take(1000);
  EXPECT_EQ(pool.free(), 0);
  EXPECT_EQ(pages, PagePool(1000, seed).take(1000));
  EXPECT_NE(pages, PagePool(1000, seed + 1).take(1000));
  EXPECT_FALSE(std::is_sorted(pages.begin(), pages.end()));
  pool.give_back({pages.begin(), pages.begin() + 3});
  EXPECT_EQ(pool.take(3), (std::vector<std::int32_t>(pages.begin(), pages.begin() + 3)));
  std::sort(pages.begin(), pages.end());
  std::vector<std::int32_t> expected(1000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(pages, expected);
}

}  // namespace
}  // namespace flashmla::tools
