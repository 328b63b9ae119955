#include "tools/progress.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

namespace flashmla::tools {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

// The text that `work` writes to standard error, which is a terminal meanwhile: `slave` is its end,
// and `master` reads it.
std::string error_output(int master, int slave, const std::function<void()>& work) {
  std::fflush(stderr);
  const int saved = ::dup(STDERR_FILENO);
  ::dup2(slave, STDERR_FILENO);
  std::string text;
  const auto drain = [&] {
    for (pollfd ready{master, POLLIN, 0}; ::poll(&ready, 1, 0) == 1;) {
      char bytes[4096];
      const ssize_t count = ::read(master, bytes, sizeof bytes);
      if (count <= 0)
        return;
      text.append(bytes, static_cast<std::size_t>(count));
    }
  };
  work();
  std::fflush(stderr);
  drain();
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  return text;
}

std::string on_terminal(const std::function<void()>& work) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0)
    return "no pseudo-terminal here";
  const int slave = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
  std::string text = error_output(master, slave, work);
  ::close(slave);
  ::close(master);
  return text;
}

std::size_t count_of(const std::string& part, const std::string& text) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

TEST(Progress, SaysNothingToAPipe) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const std::string text = error_output(ends[0], ends[1], [] {
    Progress progress("work", 10);
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
    progress.advance(5);
  });
  EXPECT_THAT(text, IsEmpty());
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Progress, DrawsATitleAndAPartAndClearsTheLine) {
  const std::string text = on_terminal([] {
    Progress progress("work", 8);
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
    progress.advance(2);
  });
  EXPECT_THAT(text, HasSubstr("work ["));
  EXPECT_THAT(text, HasSubstr(" 25 %"));
  EXPECT_THAT(text, HasSubstr(" left"));
  EXPECT_THAT(text, EndsWith("\r\x1b[K"));
}

TEST(Progress, DrawsAtMostEvery100Milliseconds) {
  const auto start = std::chrono::steady_clock::now();
  const std::string text = on_terminal([] {
    Progress progress("work", 1000000000);
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(250);
    while (std::chrono::steady_clock::now() < end)
      progress.advance();
  });
  const auto elapsed = std::chrono::steady_clock::now() - start;
  const auto max_frames = 1 + static_cast<std::size_t>(elapsed / std::chrono::milliseconds(100));
  EXPECT_GE(count_of("work [", text), 2u);
  EXPECT_LE(count_of("work [", text), max_frames);
}

TEST(Progress, BearsMoreThanItsTotalAndNoneAtAll) {
  const std::string text = on_terminal([] {
    Progress nothing("none", 0);
    Progress progress("work", 3);
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
    progress.advance(7);
  });
  EXPECT_THAT(text, HasSubstr("100 %"));
  EXPECT_THAT(text, HasSubstr("none ["));
}

}  // namespace
}  // namespace flashmla::tools
