#include "core/log.h"

#include <atomic>
#include <mutex>
#include <utility>

#include "flashmla/backends.h"

namespace flashmla {

namespace {

std::mutex mutex;
LogCallback callback;
std::uint32_t callbacks = 0;
std::atomic<std::uint32_t> installed = 0;

}  // namespace

void set_log_callback(LogCallback new_callback) {
  const std::scoped_lock lock(mutex);
  // The old callback ends with the parameter, without the lock: its destructor may come back here.
  std::swap(callback, new_callback);
  installed.store(callback ? ++callbacks : 0, std::memory_order_relaxed);
}

std::uint32_t log_callback_number() {
  return installed.load(std::memory_order_relaxed);
}

void log(std::string_view message) {
  LogCallback current;
  {
    const std::scoped_lock lock(mutex);
    current = callback;
  }
  if (current)
    current(message);
}

}  // namespace flashmla
