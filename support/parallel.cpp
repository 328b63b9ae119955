#include "support/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace flashmla::support {

void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  parallel_for(count, std::max<std::int64_t>(1, std::thread::hardware_concurrency()), body);
}

void parallel_for(std::int64_t count, std::int64_t threads_wanted,
                  const std::function<void(std::int64_t)>& body) {
  std::atomic<std::int64_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    try {
      for (std::int64_t i = next++; i < count; i = next++)
        body(i);
    } catch (...) {
      const std::lock_guard lock(failure_mutex);
      if (!failure)
        failure = std::current_exception();
      next = count;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::int64_t i = 1; i < std::min(threads_wanted, count); ++i)
      threads.emplace_back(work);
    work();
  }
  if (failure)
    std::rethrow_exception(failure);
}

}  // namespace flashmla::support
