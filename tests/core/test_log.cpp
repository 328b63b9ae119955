#include "core/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "flashmla/backends.h"

namespace flashmla {
namespace {

class Log : public testing::Test {
 protected:
  ~Log() override { set_log_callback({}); }

  std::vector<std::string> messages_;
  LogCallback keep_ = [this](std::string_view message) { messages_.emplace_back(message); };
};

TEST_F(Log, IsSilentWithoutACallback) {
  EXPECT_EQ(log_callback_number(), 0u);
  log("nobody hears this");
  set_log_callback(keep_);
  log("one");
  set_log_callback({});
  log("two");
  EXPECT_THAT(messages_, testing::ElementsAre("one"));
  EXPECT_EQ(log_callback_number(), 0u);
}

TEST_F(Log, CountsItsCallbacks) {
  set_log_callback(keep_);
  const std::uint32_t first = log_callback_number();
  set_log_callback({});
  set_log_callback(keep_);
  EXPECT_GT(first, 0u);
  EXPECT_GT(log_callback_number(), first);
}

TEST_F(Log, ACallbackMayReplaceItselfAndLog) {
  set_log_callback([this](std::string_view message) {
    set_log_callback(keep_);
    log(std::string(message) + " again");
  });
  log("one");
  EXPECT_THAT(messages_, testing::ElementsAre("one again"));
}

// A callback of another language may run any code where it is released.
TEST_F(Log, ACallbackMayLogWhereItEnds) {
  std::shared_ptr<int> last_words(new int(0), [this](int* number) {
    delete number;
    set_log_callback(keep_);
    log("the end");
  });
  set_log_callback([held = last_words](std::string_view) {});
  last_words.reset();
  set_log_callback({});
  EXPECT_THAT(messages_, testing::ElementsAre("the end"));
}

}  // namespace
}  // namespace flashmla
