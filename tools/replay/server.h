// Continuous batching on a virtual clock: which requests run in which decode step, and on which
// pages. It computes nothing and depends on the trace, its options and the seed alone.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "tools/replay/pages.h"
#include "tools/replay/trace.h"

namespace flashmla::tools {

struct ServerOptions {
  std::int64_t max_batch = 32;
  std::int64_t pages = 2048;
  std::int64_t page_size = 64;  // tokens
  std::int64_t drafts = 1;      // query tokens of a request in each step
  double step_seconds = 0.03;   // by which the clock advances in a decode step
  std::uint64_t seed = 0;       // of the page order and of the accepted drafts
};

// A request that has its pages.
struct Session {
  std::int64_t request = 0;  // index in the trace
  std::int64_t context = 0;
  std::int64_t generated = 0;  // tokens to generate
  std::vector<std::int32_t> pages;
  std::int64_t done = 0;  // tokens generated so far
  std::int64_t step = 0;  // decode steps so far

  // Position of the first draft of the current step; every row before it is settled.
  std::int64_t position() const { return context + done; }
};

struct ServerCounts {
  std::int64_t served = 0;
  std::int64_t steps = 0;
  std::int64_t generated_tokens = 0;
  std::vector<std::int64_t> rejected;  // requests that can never fit into the cache
  std::int64_t waited = 0;             // requests admitted more than one step after their arrival
  double total_wait = 0;               // seconds of the virtual clock from arrival to admission
  double longest_wait = 0;
};

// Requests are admitted in the order of their arrival, each when the batch has room and the pages
// for its context, all its tokens and the drafts of its last step can be reserved. So no request is
// ever evicted. A prompt is written at admission and takes no time on the clock. A request that
// generates nothing is served at its admission.
class Server {
 public:
  Server(std::span<const Request> requests, const ServerOptions& options);

  // Queues the requests that have arrived (an idle clock jumps to the next arrival) and admits
  // those that fit. `admit` is called once for each admitted request. Returns false when every
  // request has been served or rejected. Otherwise running() is the batch to decode, and
  // finish_step() has to be called after it.
  bool next_step(const std::function<void(const Session&)>& admit);
  void finish_step();

  std::span<const Session> running() const { return running_; }
  double clock() const { return clock_; }  // seconds
  std::int64_t queued() const { return static_cast<std::int64_t>(queue_.size()); }
  std::int64_t pages_in_use() const { return options_.pages - pool_.free(); }
  const ServerCounts& counts() const { return counts_; }

 private:
  void arrive();
  void admit_queued(const std::function<void(const Session&)>& admit);
  void record_wait(const Request& request);

  std::span<const Request> requests_;
  ServerOptions options_;
  PagePool pool_;
  std::deque<std::int64_t> queue_;  // requests
  std::vector<Session> running_;
  std::int64_t next_arrival_ = 0;  // request
  double clock_ = 0;
  ServerCounts counts_;
};

// The number of pages that a request reserves.
std::int64_t pages_needed(const Request& request, const ServerOptions& options);

}  // namespace flashmla::tools
