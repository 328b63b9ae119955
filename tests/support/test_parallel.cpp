#include "support/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace flashmla::support {
namespace {

TEST(Parallel, CallsTheBodyOnceForEachIndex) {
  for (const std::int64_t count : {0, 1, 2, 1000}) {
    std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
    parallel_for(count, [&](std::int64_t i) { ++calls[i]; });
    for (const std::atomic<int>& call : calls)
      ASSERT_EQ(call, 1);
  }
}

TEST(Parallel, ExceptionsComeBack) {
  EXPECT_THROW(parallel_for(100,
                            [](std::int64_t i) {
                              if (i == 42)
                                throw std::runtime_error("42");
                            }),
               std::runtime_error);
}

}  // namespace
}  // namespace flashmla::support
