// A team of threads with SerialTeam's interface, which stands for the thread block of a GPU: every
// thread calls split_kv with its own rank, and all of them work on the same arrays.
#pragma once

#include <barrier>
#include <cstdint>
#include <thread>
#include <vector>

namespace flashmla::schedule {

class ThreadTeam {
 public:
  // What the threads share.
  struct Common {
    explicit Common(std::int32_t threads) : barrier(threads), value(threads) {}

    std::barrier<> barrier;
    std::vector<std::int64_t> value;  // one for each thread
  };

  ThreadTeam(Common& common, std::int32_t rank) : common_(&common), rank_(rank) {}

  template <class Sum, class Value>
  void scan(std::int32_t n, Sum* prefix, Value value) const {
    const std::int32_t begin = first(n, rank_);
    const std::int32_t end = first(n, rank_ + 1);
    Sum sum = 0;
    for (std::int32_t i = begin; i < end; ++i)
      sum += value(i);
    share(sum);
    Sum before = 0;
    for (std::int32_t t = 0; t < rank_; ++t)
      before += static_cast<Sum>(common_->value[t]);
    for (std::int32_t i = begin; i < end; ++i) {
      prefix[i] = before;
      before += value(i);
    }
    if (rank_ == size() - 1)
      prefix[n] = before;
    common_->barrier.arrive_and_wait();
  }

  template <class Sum, class Value, class Candidate>
  std::int64_t scan_and_max(std::int32_t n, Sum* prefix, Value value, Candidate candidate) const {
    scan(n, prefix, value);
    std::int64_t largest = 0;
    for (std::int32_t i = rank_; i < n; i += size())
      largest = largest < candidate(i) ? candidate(i) : largest;
    share(largest);
    for (const std::int64_t other : common_->value)
      largest = largest < other ? other : largest;
    common_->barrier.arrive_and_wait();
    return largest;
  }

  template <class Body>
  void for_each(std::int32_t n, Body body) const {
    for (std::int32_t i = rank_; i < n; i += size())
      body(i);
    common_->barrier.arrive_and_wait();
  }

 private:
  std::int32_t size() const { return static_cast<std::int32_t>(common_->value.size()); }

  std::int32_t first(std::int64_t n, std::int64_t rank) const {
    return static_cast<std::int32_t>(n * rank / size());
  }

  void share(std::int64_t value) const {
    common_->value[rank_] = value;
    common_->barrier.arrive_and_wait();
  }

  Common* common_;
  std::int32_t rank_;
};

// Runs body(ThreadTeam) on `threads` threads.
template <class Body>
void run_team(std::int32_t threads, Body body) {
  ThreadTeam::Common common(threads);
  std::vector<std::jthread> running;
  for (std::int32_t rank = 0; rank < threads; ++rank)
    running.emplace_back([&common, &body, rank] { body(ThreadTeam(common, rank)); });
}

}  // namespace flashmla::schedule
