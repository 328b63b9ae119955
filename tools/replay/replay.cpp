#include "tools/replay/replay.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tools/replay/content.h"
#include "tools/replay/selection.h"

namespace flashmla::tools {

namespace {

// The rows that the query tokens of one step attend to.
std::int64_t token_steps(std::span<const Session> sessions, std::int64_t drafts, KvFormat format) {
  std::int64_t sum = 0;
  for (const Session& session : sessions)
    for (std::int64_t t = 0; t < drafts; ++t)
      sum += attended_rows(format, session.position() + t, session.position());
  return sum;
}

std::int64_t cached_tokens(std::span<const Session> sessions, std::int64_t drafts) {
  std::int64_t sum = 0;
  for (const Session& session : sessions)
    sum += session.position() + drafts;
  return sum;
}

// Results of a layer are numbered request by request, query token by query token, head by head.
void take_samples(const Engine& engine, const Server& server, const ReplayOptions& options,
                  std::int64_t layer, Sampler& sampler, std::vector<Sample>& samples) {
  const auto running = server.running();
  const std::int64_t drafts = options.server.drafts;
  const std::int64_t results = std::ssize(running) * drafts * options.heads;
  for (const std::int64_t offset : sampler.among_next(results)) {
    const std::int64_t head = offset % options.heads;
    const std::int64_t query_token = offset / options.heads % drafts;
    const std::int64_t slot = offset / options.heads / drafts;
    Result result = engine.result(slot, query_token, head);
    samples.push_back({.step = server.counts().steps,
                       .request = running[slot].request,
                       .request_step = running[slot].step,
                       .query_token = query_token,
                       .layer = layer,
                       .head = head,
                       .out = std::move(result.out),
                       .lse = result.lse});
  }
}

}  // namespace

Forecast forecast_of(std::span<const Request> requests, const ServerOptions& options,
                     KvFormat format) {
  Forecast forecast;
  for (const Request& request : requests)
    if (const std::int64_t needed = pages_needed(request, options); needed <= options.pages)
      forecast.max_pages = std::max(forecast.max_pages, needed);
  Server server(requests, options);
  while (server.next_step([](const Session&) {})) {
    ++forecast.steps;
    forecast.query_tokens += std::ssize(server.running()) * options.drafts;
    const std::int64_t attended = token_steps(server.running(), options.drafts, format);
    forecast.token_steps += attended;
    forecast.read_tokens +=
        is_plain(format) ? cached_tokens(server.running(), options.drafts) : attended;
    server.finish_step();
  }
  return forecast;
}

EngineOptions engine_options(const ReplayOptions& options, const Forecast& forecast,
                             const Device& device) {
  EngineOptions engine;
  engine.device = device;
  engine.seed = options.server.seed;
  engine.format = options.format;
  engine.heads = options.heads;
  engine.layers = options.layers;
  engine.pages = options.server.pages;
  engine.page_size = options.server.page_size;
  engine.max_pages = forecast.max_pages;
  engine.max_batch = options.server.max_batch;
  engine.drafts = options.server.drafts;
  return engine;
}

Served serve(std::span<const Request> requests, const ReplayOptions& options,
             const Forecast& forecast, Engine& engine,
             const std::function<void(std::int64_t)>& advance) {
  Served served;
  served.steps.reserve(forecast.steps);
  Sampler sampler(forecast.query_tokens * options.heads * options.layers, options.samples,
                  sample_key(options.server.seed));
  Server server(requests, options.server);
  const auto begin = std::chrono::steady_clock::now();
  while (server.next_step([&](const Session& session) { engine.prefill(session); })) {
    const auto running = server.running();
    StepRecord record{.clock = server.clock(),
                      .batch = std::ssize(running),
                      .cached_tokens = cached_tokens(running, options.server.drafts),
                      .queued = server.queued(),
                      .pages = server.pages_in_use()};
    record.latency = engine.decode(running, [&](std::int64_t layer) {
      take_samples(engine, server, options, layer, sampler, served.samples);
    });
    served.steps.push_back(record);
    advance(token_steps(running, options.server.drafts, options.format));
    server.finish_step();
  }
  const auto end = std::chrono::steady_clock::now();
  served.wall_seconds = std::chrono::duration<double>(end - begin).count();
  served.counts = server.counts();
  return served;
}

}  // namespace flashmla::tools
