#include "backends/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <vector>

#include "flashmla/backends.h"
#include "flashmla/error.h"

namespace flashmla::backends::cpu {
namespace {

class ThreadPool : public ::testing::Test {
 protected:
  void TearDown() override {
    set_threads(0);
    unsetenv("FLASHMLA_NUM_THREADS");
  }

  // The largest number of bodies that ran at the same time.
  static int max_at_once(std::int64_t count, int max_threads) {
    std::atomic<int> now{0};
    std::atomic<int> most{0};
    parallel_for(count, max_threads, [&](std::int64_t) {
      const int here = ++now;
      int seen = most.load();
      while (here > seen && !most.compare_exchange_weak(seen, here)) {
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      --now;
    });
    return most;
  }
};

TEST_F(ThreadPool, CallsEachIndexOnce) {
  for (const int count : {1, 2, 5}) {
    set_threads(count);
    std::vector<std::atomic<int>> calls(10'000);
    parallel_for(10'000, 0, [&](std::int64_t i) { ++calls[i]; });
    for (const auto& called : calls)
      ASSERT_EQ(called, 1);
  }
  parallel_for(0, 0, [](std::int64_t) { FAIL() << "nothing to call"; });
}

TEST_F(ThreadPool, SizeComesFromTheOptionThenTheSwitchThenTheProcess) {
  setenv("FLASHMLA_NUM_THREADS", "5", 1);
  EXPECT_EQ(threads(), 5);
  set_threads(3);
  EXPECT_EQ(threads(), 3);
  set_threads(0);
  EXPECT_EQ(threads(), 5);
  unsetenv("FLASHMLA_NUM_THREADS");
  EXPECT_GE(threads(), 1);
  EXPECT_THROW(set_threads(-1), Error);
  EXPECT_THROW(set_threads(4097), Error);
}

TEST_F(ThreadPool, RespectsTheLimitOfACall) {
  set_threads(6);
  EXPECT_EQ(max_at_once(40, 1), 1);
  EXPECT_LE(max_at_once(40, 3), 3);
  EXPECT_GT(max_at_once(40, 0), 1);
}

TEST_F(ThreadPool, RethrowsAndStaysUsable) {
  for (const int count : {1, 4}) {
    set_threads(count);
    for (int repetition = 0; repetition < 20; ++repetition) {
      EXPECT_THROW(parallel_for(100, 0,
                                [](std::int64_t i) {
                                  if (i % 7 == 3)
                                    throw std::out_of_range("thrown on purpose");
                                }),
                   std::out_of_range);
      std::atomic<int> calls{0};
      parallel_for(100, 0, [&](std::int64_t) { ++calls; });
      EXPECT_EQ(calls, 100);
    }
  }
}

TEST_F(ThreadPool, ABodyMayCallAgain) {
  set_threads(3);
  std::atomic<int> calls{0};
  parallel_for(8, 0, [&](std::int64_t) { parallel_for(8, 0, [&](std::int64_t) { ++calls; }); });
  EXPECT_EQ(calls, 64);
}

TEST_F(ThreadPool, SeveralThreadsMayCall) {
  set_threads(3);
  std::atomic<std::int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int repetition = 0; repetition < 100; ++repetition)
        parallel_for(50, 0, [&](std::int64_t i) { sum += i; });
    });
  for (std::thread& caller : callers)
    caller.join();
  EXPECT_EQ(sum, 4 * 100 * (49 * 50 / 2));
}

TEST_F(ThreadPool, IsUsableInAChildAfterFork) {
  set_threads(4);
  EXPECT_GT(max_at_once(40, 0), 1);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(30);
    _exit(max_at_once(40, 0) > 1 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the child has no helpers";
  EXPECT_GT(max_at_once(40, 0), 1) << "the parent goes on";
}

// The test runs in a child process, so that it takes no memory for stacks from later tests.
int call_without_memory_for_stacks() {
  long pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t bytes = static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
  const rlimit limit{bytes + (rlim_t{1} << 20), RLIM_INFINITY};
  int messages = 0;
  set_log_callback([&](std::string_view message) {
    messages += message.starts_with("cpu backend: the system starts no more threads; ") ? 1 : 100;
  });
  set_threads(1000);  // more threads than the pool has from earlier tests
  std::atomic<int> calls{0};
  if (setrlimit(RLIMIT_AS, &limit) != 0)
    return 1;
  for (int repetition = 0; repetition < 3; ++repetition)
    parallel_for(2000, 0, [&](std::int64_t) { ++calls; });
  if (calls != 3 * 2000)
    return 2;
  return messages == 1 ? 0 : 3;
}

TEST_F(ThreadPool, GoesOnWithFewerThreadsAndSaysSoOnce) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer needs address space of its own";
#endif
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(30);
    _exit(call_without_memory_for_stacks());
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: no limit, 2: calls are missing, 3: not one message";
}

}  // namespace
}  // namespace flashmla::backends::cpu
