#include "backends/cpu/thread_pool.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "core/switches.h"
#include "core/text.h"

namespace flashmla::backends::cpu {

namespace {

// One call of parallel_for. It lives on the stack of the caller. The pool counts the helper threads
// that work on it, so that the caller can wait for the last one.
class Job {
 public:
  Job(std::int64_t count, int max_helpers, const std::function<void(std::int64_t)>& body)
      : wanted_helpers(max_helpers), count_(count), body_(body) {}

  // Takes indices until none is left.
  void work() {
    for (std::int64_t i = next_.fetch_add(1); i < count_; i = next_.fetch_add(1)) {
      try {
        body_(i);
      } catch (...) {
        next_.store(count_);
        const std::scoped_lock lock(error_mutex_);
        if (!error_)
          error_ = std::current_exception();
      }
    }
  }

  void rethrow() const {
    if (error_)
      std::rethrow_exception(error_);
  }

  int wanted_helpers;      // helpers that may still join; guarded by the mutex of the pool
  int active_helpers = 0;  // helpers that work on the job; guarded by the mutex of the pool

 private:
  std::atomic<std::int64_t> next_{0};
  const std::int64_t count_;
  const std::function<void(std::int64_t)>& body_;
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

class Pool {
 public:
  explicit Pool(Pool* parents_pool) : before_fork(parents_pool), process_(getpid()) {}

  // The pool of the parent process, or null. A leak checker must find it, but it has no threads
  // here.
  Pool* const before_fork;

  pid_t process() const { return process_; }

  void run(Job& job) {
    bool first_shortage = false;
    {
      const std::scoped_lock lock(mutex_);
      first_shortage = !start_helpers(job.wanted_helpers) && !std::exchange(was_short_, true);
      jobs_.push_back(&job);
    }
    work_waits_.notify_all();
    job.work();
    std::unique_lock lock(mutex_);
    jobs_.remove(&job);
    helper_left_.wait(lock, [&] { return job.active_helpers == 0; });
    const int threads_here = 1 + helpers_;
    lock.unlock();  // the callback may call the library
    if (first_shortage)
      log(text("cpu backend: the system starts no more threads; ", threads_here, " are used"));
  }

 private:
  // Returns false where the system starts no more threads. The pool then works with fewer.
  bool start_helpers(int wanted) {
    try {
      for (; helpers_ < wanted; ++helpers_)
        std::thread([this] { help(); }).detach();
      return true;
    } catch (const std::system_error&) {
      return false;
    }
  }

  [[noreturn]] void help() {
    std::unique_lock lock(mutex_);
    while (true) {
      Job* job = nullptr;
      work_waits_.wait(lock, [&] { return (job = joinable()) != nullptr; });
      --job->wanted_helpers;
      ++job->active_helpers;
      lock.unlock();
      job->work();
      lock.lock();
      if (--job->active_helpers == 0)
        helper_left_.notify_all();
    }
  }

  Job* joinable() {
    const auto job = std::find_if(jobs_.begin(), jobs_.end(), [](const Job* candidate) {
      return candidate->wanted_helpers > 0;
    });
    return job == jobs_.end() ? nullptr : *job;
  }

  const pid_t process_;
  std::mutex mutex_;
  std::condition_variable work_waits_;
  std::condition_variable helper_left_;
  std::list<Job*> jobs_;
  int helpers_ = 0;
  bool was_short_ = false;  // whether the system has once refused to start a thread
};

// The pool of this process. It is never destroyed, because its threads wait in it until the process
// ends. A child of fork has none of these threads, so it makes a pool of its own.
Pool& pool() {
  static std::atomic<Pool*> current{nullptr};
  Pool* found = current.load();
  while (found == nullptr || found->process() != getpid()) {
    auto fresh = std::make_unique<Pool>(found);
    if (current.compare_exchange_strong(found, fresh.get()))
      return *fresh.release();
  }
  return *found;
}

std::atomic<int> chosen_threads{0};

int default_threads() {
  if (const auto threads = switches::num_threads())
    return *threads;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    return std::max(1, CPU_COUNT(&allowed));
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 4096u));
}

}  // namespace

void set_threads(int threads) {
  check_range("threads", threads, 0, 4096);
  chosen_threads.store(threads);
}

int threads() {
  const int chosen = chosen_threads.load();
  return chosen > 0 ? chosen : default_threads();
}

void parallel_for(std::int64_t count, int max_threads,
                  const std::function<void(std::int64_t)>& body) {
  std::int64_t workers = std::min<std::int64_t>(count, threads());
  if (max_threads > 0)
    workers = std::min<std::int64_t>(workers, max_threads);
  if (workers <= 1) {
    for (std::int64_t i = 0; i < count; ++i)
      body(i);
    return;
  }
  Job job(count, static_cast<int>(workers - 1), body);
  pool().run(job);
  job.rethrow();
}

}  // namespace flashmla::backends::cpu
