#include "tools/replay/engine.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "support/numeric.h"
#include "support/parallel.h"
#include "tools/replay/content.h"

namespace flashmla::tools {

namespace {

constexpr std::int64_t prefill_rows = 8192;  // rows of one append call

// keys[layer][i] = key(layer, i), made by several threads.
std::vector<std::uint64_t> keys_of_layers(
    std::int64_t layers, std::int64_t count,
    const std::function<std::uint64_t(std::int64_t layer, std::int64_t i)>& key) {
  constexpr std::int64_t keys_of_a_task = 4096;
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(layers * count));
  const std::int64_t total = layers * count;
  support::parallel_for((total + keys_of_a_task - 1) / keys_of_a_task, [&](std::int64_t task) {
    const std::int64_t end = std::min(total, (task + 1) * keys_of_a_task);
    for (std::int64_t n = task * keys_of_a_task; n < end; ++n)
      keys[n] = key(n / count, n % count);
  });
  return keys;
}

}  // namespace

Problem step_problem(const EngineOptions& options, std::int64_t batch) {
  Problem problem;
  problem.device = options.device;
  problem.query_type = options.format == KvFormat::fp16 ? DType::fp16 : DType::bf16;
  problem.kv_format = options.format;
  problem.batch = batch;
  problem.query_tokens = options.drafts;
  problem.query_heads = options.heads;
  problem.qk_dim = replay_qk_dim(options.format);
  problem.v_dim = Engine::v_dim;
  problem.page_size = options.page_size;
  problem.max_pages = options.max_pages;
  problem.causal = options.drafts > 1;
  if (!is_plain(options.format))
    make_sparse(problem, options);
  return problem;
}

Engine::Engine(const EngineOptions& options, support::Memory& memory)
    : options_(options),
      memory_(memory),
      stopwatch_(memory.stopwatch()),
      type_(step_problem(options, 0).query_type),
      qk_dim_(replay_qk_dim(options.format)),
      plan_workspace_(memory, 0),
      run_workspace_(memory, 0),
      cache_(memory, 0),
      rows_(memory, 0),
      slots_(memory, 0),
      queries_(memory, 0),
      out_(memory, 0),
      lse_(memory, 0),
      lengths_(memory, 0),
      block_table_(memory, 0),
      row_keys_(memory, 0),
      query_keys_(memory, 0) {
  plan_for(options.max_batch);  // throws where no backend serves it
  const std::int64_t rows = options.max_batch * options.drafts;
  cache_.grow(static_cast<std::size_t>(options.layers * options.pages * options.page_size *
                                       token_bytes(options.format, qk_dim_)));
  rows_.grow(static_cast<std::size_t>(std::max(rows, prefill_rows) * qk_dim_) * size_of(type_));
  queries_.grow(static_cast<std::size_t>(rows * options.heads * qk_dim_) * size_of(type_));
  out_.grow(static_cast<std::size_t>(rows * options.heads * v_dim) * size_of(type_));
  lse_.grow(static_cast<std::size_t>(rows * options.heads) * sizeof(float));
  if (!is_plain(options.format))
    lists_.emplace(options_, memory);
}

TensorView Engine::cache(std::int64_t layer) const {
  const std::int64_t bytes =
      options_.pages * options_.page_size * token_bytes(options_.format, qk_dim_);
  return {cache_.data() + layer * bytes,
          cache_dtype(options_.format),
          {options_.pages, options_.page_size, 1, token_elements(options_.format, qk_dim_)},
          options_.device};
}

std::int64_t Engine::slot_of(const Session& session, std::int64_t position) const {
  const std::int64_t page = session.pages[position / options_.page_size];
  return page * options_.page_size + position % options_.page_size;
}

Plan& Engine::plan_for(std::int64_t batch) {
  auto found = plans_.find(batch);
  if (found == plans_.end())
    found = plans_.emplace(batch, make_plan(step_problem(options_, batch))).first;
  plan_workspace_.grow(found->second.plan_workspace_bytes());
  run_workspace_.grow(found->second.run_workspace_bytes());
  return found->second;
}

// Makes rows from `keys`, which lie in the device's memory, and writes them to the slots in slots_.
void Engine::append_rows(const std::uint64_t* keys, std::int64_t count, std::int64_t layer) {
  memory_.fill_rows(rows_.data(), type_, qk_dim_, keys, count);
  options_.append(cache(layer), options_.format,
                  {rows_.data(), type_, {count, 1, qk_dim_}, options_.device},
                  {slots_.data(), DType::i64, {count}, options_.device});
}

void Engine::prefill(const Session& session) {
  for (std::int64_t first = 0; first < session.context; first += prefill_rows) {
    const std::int64_t count = std::min(prefill_rows, session.context - first);
    std::vector<std::int64_t> slots(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i)
      slots[i] = slot_of(session, first + i);
    slots_.upload<std::int64_t>(slots);
    row_keys_.upload<std::uint64_t>(
        keys_of_layers(options_.layers, count, [&](std::int64_t layer, std::int64_t i) {
          return row_key(options_.seed, {session.request, first + i, layer, 0});
        }));
    for (std::int64_t layer = 0; layer < options_.layers; ++layer)
      append_rows(row_keys_.as<std::uint64_t>() + layer * count, count, layer);
  }
  if (lists_)
    lists_->prefill(session);
}

// Only the uploads wait for a GPU, and they come first. Each launch then finds the device at work,
// so that the stopwatch times kernels and not the host.
double Engine::decode(std::span<const Session> sessions,
                      const std::function<void(std::int64_t layer)>& after_layer) {
  batch_ = std::ssize(sessions);
  const std::int64_t rows = batch_ * options_.drafts;
  Plan& plan = plan_for(batch_);
  upload_tables(sessions);
  upload_keys(sessions);
  if (lists_)
    lists_->fill(sessions);
  stopwatch_->start();
  plan.schedule(
      lists_ ? TensorView() : TensorView(lengths_.data(), DType::i32, {batch_}, options_.device),
      {plan_workspace_.data(), plan_workspace_.bytes()});
  stopwatch_->stop();
  for (std::int64_t layer = 0; layer < options_.layers; ++layer) {
    append_rows(row_keys_.as<std::uint64_t>() + layer * rows, rows, layer);
    memory_.fill_rows(queries_.data(), type_, qk_dim_,
                      query_keys_.as<std::uint64_t>() + layer * rows * options_.heads,
                      rows * options_.heads);
    run_layer(plan, batch_, layer);
    after_layer(layer);
  }
  return stopwatch_->seconds();
}

// Entries of the block table past a request's pages hold a number that no page has.
void Engine::upload_tables(std::span<const Session> sessions) {
  std::vector<std::int32_t> lengths(sessions.size());
  std::vector<std::int32_t> table(sessions.size() * options_.max_pages,
                                  std::numeric_limits<std::int32_t>::min());
  std::vector<std::int64_t> slots(sessions.size() * options_.drafts);
  for (std::int64_t r = 0; r < std::ssize(sessions); ++r) {
    const Session& session = sessions[r];
    lengths[r] = static_cast<std::int32_t>(session.position() + options_.drafts);
    std::copy(session.pages.begin(), session.pages.end(), table.begin() + r * options_.max_pages);
    for (std::int64_t t = 0; t < options_.drafts; ++t)
      slots[r * options_.drafts + t] = slot_of(session, session.position() + t);
  }
  lengths_.upload<std::int32_t>(lengths);
  block_table_.upload<std::int32_t>(table);
  slots_.upload<std::int64_t>(slots);
}

// The keys of a step's rows and queries, for all layers.
void Engine::upload_keys(std::span<const Session> sessions) {
  const std::int64_t rows = std::ssize(sessions) * options_.drafts;
  const auto place_of = [&](std::int64_t layer, std::int64_t row) {
    const Session& session = sessions[row / options_.drafts];
    return TokenPlace{session.request, session.position() + row % options_.drafts, layer,
                      session.step + 1};
  };
  row_keys_.upload<std::uint64_t>(
      keys_of_layers(options_.layers, rows, [&](std::int64_t layer, std::int64_t row) {
        return row_key(options_.seed, place_of(layer, row));
      }));
  query_keys_.upload<std::uint64_t>(keys_of_layers(
      options_.layers, rows * options_.heads, [&](std::int64_t layer, std::int64_t i) {
        return query_key(options_.seed, place_of(layer, i / options_.heads), i % options_.heads);
      }));
}

void Engine::run_layer(const Plan& plan, std::int64_t batch, std::int64_t layer) {
  out_.poison();
  lse_.poison();
  const Device device = options_.device;
  Inputs inputs;
  inputs.q = {queries_.data(), type_, {batch, options_.drafts, options_.heads, qk_dim_}, device};
  inputs.kv_cache = cache(layer);
  if (lists_)
    lists_->add_to(inputs, batch, layer);
  else
    inputs.block_table = {block_table_.data(), DType::i32, {batch, options_.max_pages}, device};
  Outputs outputs;
  outputs.out = {out_.data(), type_, {batch, options_.drafts, options_.heads, v_dim}, device};
  outputs.lse = {lse_.data(), DType::fp32, {batch, options_.heads, options_.drafts}, device};
  stopwatch_->start();
  run(plan, inputs, outputs, {run_workspace_.data(), run_workspace_.bytes()});
  stopwatch_->stop();
}

Result Engine::result(std::int64_t slot, std::int64_t query_token, std::int64_t head) const {
  const std::int64_t row = (slot * options_.drafts + query_token) * options_.heads + head;
  const std::int64_t lse = (slot * options_.heads + head) * options_.drafts + query_token;
  Result result{.out = std::vector<float>(v_dim), .lse = 0};
  std::vector<std::uint16_t> bits(v_dim);
  memory_.download(std::as_writable_bytes(std::span(bits)),
                   reinterpret_cast<const std::byte*>(out_.as<std::uint16_t>() + row * v_dim));
  memory_.download(std::as_writable_bytes(std::span(&result.lse, 1)),
                   reinterpret_cast<const std::byte*>(lse_.as<float>() + lse));
  support::decode(type_, bits, result.out);
  return result;
}

}  // namespace flashmla::tools
