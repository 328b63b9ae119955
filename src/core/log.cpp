#include "core/log.h"

#include <mutex>
#include <utility>

#include "flashmla/backends.h"

namespace flashmla {

namespace {

std::mutex mutex;
LogCallback callback;

}  // namespace

void set_log_callback(LogCallback new_callback) {
  const std::scoped_lock lock(mutex);
  callback = std::move(new_callback);
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
