#include "tools/replay/server.h"

#include <algorithm>

#include "tools/replay/content.h"

namespace flashmla::tools {

std::int64_t pages_needed(const Request& request, const ServerOptions& options) {
  const std::int64_t drafts_beyond = request.generated > 0 ? options.drafts - 1 : 0;
  const std::int64_t rows = std::int64_t{request.context} + request.generated + drafts_beyond;
  return (rows + options.page_size - 1) / options.page_size;
}

Server::Server(std::span<const Request> requests, const ServerOptions& options)
    : requests_(requests), options_(options), pool_(options.pages, page_order_key(options.seed)) {}

bool Server::next_step(const std::function<void(const Session&)>& admit) {
  do {
    if (running_.empty() && queue_.empty()) {
      if (next_arrival_ == std::ssize(requests_))
        return false;
      clock_ = std::max(clock_, requests_[next_arrival_].arrival);
    }
    arrive();
    admit_queued(admit);
  } while (running_.empty());
  return true;
}

void Server::arrive() {
  for (; next_arrival_ < std::ssize(requests_) && requests_[next_arrival_].arrival <= clock_;
       ++next_arrival_) {
    if (pages_needed(requests_[next_arrival_], options_) > options_.pages)
      counts_.rejected.push_back(next_arrival_);
    else
      queue_.push_back(next_arrival_);
  }
}

void Server::admit_queued(const std::function<void(const Session&)>& admit) {
  while (!queue_.empty() && std::ssize(running_) < options_.max_batch) {
    const std::int64_t index = queue_.front();
    const Request& request = requests_[index];
    const std::int64_t needed = pages_needed(request, options_);
    if (needed > pool_.free())
      return;
    queue_.pop_front();
    record_wait(request);
    Session session{.request = index,
                    .context = request.context,
                    .generated = request.generated,
                    .pages = pool_.take(needed)};
    admit(session);
    if (request.generated > 0) {
      running_.push_back(std::move(session));
    } else {
      pool_.give_back(session.pages);
      ++counts_.served;
    }
  }
}

void Server::record_wait(const Request& request) {
  const double wait = clock_ - request.arrival;
  counts_.total_wait += wait;
  counts_.longest_wait = std::max(counts_.longest_wait, wait);
  if (wait > options_.step_seconds)
    ++counts_.waited;
}

void Server::finish_step() {
  for (Session& session : running_) {
    const std::int64_t left = session.generated - session.done;
    const std::int64_t accepted =
        accepted_drafts(options_.seed, session.request, session.step, options_.drafts, left);
    session.done += accepted;
    ++session.step;
    counts_.generated_tokens += accepted;
    if (session.done == session.generated) {
      pool_.give_back(session.pages);
      ++counts_.served;
    }
  }
  std::erase_if(running_, [](const Session& session) { return session.done == session.generated; });
  ++counts_.steps;
  clock_ += options_.step_seconds;
}

}  // namespace flashmla::tools
