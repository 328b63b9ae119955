// A team of threads with the interface of SerialTeam. It stands for the thread block of a GPU:
// every thread calls split_kv with its own rank, and all threads work on the same arrays.
#pragma once

#include <algorithm>
#include <any>
#include <barrier>
#include <cstdint>
#include <thread>
#include <vector>

namespace flashmla::schedule {

class ThreadTeam {
 public:
  // The data that the threads share.
  struct Common {
    explicit Common(std::int32_t threads) : barrier(threads), value(threads) {}

    std::barrier<> barrier;
    std::vector<std::any> value;  // one for each thread
  };

  ThreadTeam(Common& common, std::int32_t rank) : common_(&common), rank_(rank) {}

  template <class Value, class Store>
  void scan(std::int32_t n, Value value, Store store) const {
    using Sum = decltype(value(0));
    const std::int32_t begin = first(n, rank_);
    std::vector<Sum> own;
    Sum sum{};
    for (std::int32_t i = begin; i < first(n, rank_ + 1); ++i) {
      own.push_back(value(i));
      sum = sum + own.back();
    }
    share([&](std::any& shared) { shared = sum; });
    Sum before{};
    for (std::int32_t t = 0; t < rank_; ++t)
      before = before + std::any_cast<Sum>(common_->value[t]);
    std::int32_t i = begin;
    for (const Sum& one : own) {
      store(i++, before, one);
      before = before + one;
    }
    if (rank_ == size() - 1)
      store(n, before, Sum{});
    common_->barrier.arrive_and_wait();
  }

  template <class Cost, class Candidate, class Store>
  auto lay_out(std::int32_t n, Cost cost, Candidate candidate, Store store) const {
    using Most = decltype(candidate(0));
    using Ns = decltype(cost(0));
    struct Laid {
      Ns cost;
      std::int32_t items;
      Laid operator+(const Laid& other) const { return {cost + other.cost, items + other.items}; }
    };
    scan(
        n,
        [&](std::int32_t i) {
          const Ns own = cost(i);
          return Laid{own, own > 0 ? 1 : 0};
        },
        [&](std::int32_t i, const Laid& before, const Laid& own) {
          store(i, before.items, before.cost, own.cost);
        });
    Most largest{};
    for (std::int32_t i = rank_; i < n; i += size())
      largest = Most::of(largest, candidate(i));
    share([&](std::any& shared) { shared = largest; });
    for (const std::any& other : common_->value)
      largest = Most::of(largest, std::any_cast<Most>(other));
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

  template <class Write>
  void share(Write write) const {
    write(common_->value[rank_]);
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
