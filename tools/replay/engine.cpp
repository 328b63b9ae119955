#include "tools/replay/engine.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "support/numeric.h"
#include "support/parallel.h"
#include "tools/replay/content.h"

namespace flashmla::tools {

namespace {

constexpr std::int64_t prefill_rows = 1024;  // rows of one append call
constexpr std::int64_t rows_of_a_task = 64;  // rows that one thread makes at a time

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Calls body(first, last) for consecutive ranges of 0 … count − 1, from several threads where there
// is enough to do.
void for_ranges(std::int64_t count,
                const std::function<void(std::int64_t first, std::int64_t last)>& body) {
  const std::int64_t tasks = (count + rows_of_a_task - 1) / rows_of_a_task;
  support::parallel_for(tasks, [&](std::int64_t task) {
    body(task * rows_of_a_task, std::min(count, (task + 1) * rows_of_a_task));
  });
}

void encode_row(DType type, std::span<const float> numbers, std::uint16_t* to) {
  support::encode(type, numbers, std::span(to, numbers.size()));
}

}  // namespace

Problem step_problem(const EngineOptions& options, std::int64_t batch) {
  Problem problem;
  problem.query_type = options.format == KvFormat::fp16 ? DType::fp16 : DType::bf16;
  problem.kv_format = options.format;
  problem.batch = batch;
  problem.query_tokens = options.drafts;
  problem.query_heads = options.heads;
  problem.qk_dim = replay_qk_dim(options.format);
  problem.v_dim = Engine::v_dim;
  problem.page_size = options.page_size;
  problem.max_blocks = options.max_blocks;
  problem.causal = options.drafts > 1;
  if (!is_plain(options.format))
    make_sparse(problem, options);
  return problem;
}

Engine::Engine(const EngineOptions& options)
    : options_(options),
      type_(step_problem(options, 0).query_type),
      qk_dim_(replay_qk_dim(options.format)),
      lists_(options_) {
  plan_for(options.max_batch);
  const std::int64_t rows = options.max_batch * options.drafts;
  cache_ = Buffer(static_cast<std::size_t>(options.layers * options.pages * options.page_size *
                                           token_bytes(options.format, qk_dim_)));
  rows_ = Buffer(static_cast<std::size_t>(std::max(rows, prefill_rows) * qk_dim_) * size_of(type_));
  queries_ = Buffer(static_cast<std::size_t>(rows * options.heads * qk_dim_) * size_of(type_));
  out_ = Buffer(static_cast<std::size_t>(rows * options.heads * v_dim) * size_of(type_));
  lse_ = Buffer(static_cast<std::size_t>(rows * options.heads) * sizeof(float));
}

TensorView Engine::cache(std::int64_t layer) const {
  const std::int64_t bytes =
      options_.pages * options_.page_size * token_bytes(options_.format, qk_dim_);
  return {cache_.data() + layer * bytes,
          cache_dtype(options_.format),
          {options_.pages, options_.page_size, 1, token_elements(options_.format, qk_dim_)}};
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

void Engine::prefill(const Session& session) {
  for (std::int64_t first = 0; first < session.context; first += prefill_rows) {
    const std::int64_t count = std::min(prefill_rows, session.context - first);
    slots_.resize(count);
    for (std::int64_t i = 0; i < count; ++i)
      slots_[i] = slot_of(session, first + i);
    for (std::int64_t layer = 0; layer < options_.layers; ++layer) {
      for_ranges(count, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> row(static_cast<std::size_t>(qk_dim_));
        for (std::int64_t i = begin; i < end; ++i) {
          fill_row(options_.seed, {session.request, first + i, layer, 0}, row);
          encode_row(type_, row, rows_.as<std::uint16_t>() + i * qk_dim_);
        }
      });
      options_.append(cache(layer), options_.format, {rows_.data(), type_, {count, 1, qk_dim_}},
                      {slots_.data(), DType::i64, {count}});
    }
  }
  for (std::int64_t layer = 0; layer < options_.layers; ++layer)
    lists_.append_extra_rows(session, layer, 0, session.context);
}

double Engine::decode(std::span<const Session> sessions,
                      const std::function<void(std::int64_t layer)>& after_layer) {
  batch_ = std::ssize(sessions);
  Plan& plan = plan_for(batch_);
  fill_tables(sessions);
  double seconds = seconds_of([&] {
    plan.schedule(sparse() ? TensorView() : TensorView(lengths_.data(), DType::i32, {batch_}),
                  {plan_workspace_.data(), plan_workspace_.bytes()});
  });
  for (std::int64_t layer = 0; layer < options_.layers; ++layer) {
    append_drafts(sessions, layer);
    fill_queries(sessions, layer);
    if (sparse())
      fill_lists(sessions, layer);
    seconds += run_layer(plan, batch_, layer);
    after_layer(layer);
  }
  return seconds;
}

// Entries of the block table past a request's pages are no page numbers at all.
void Engine::fill_tables(std::span<const Session> sessions) {
  lengths_.resize(sessions.size());
  block_table_.assign(sessions.size() * options_.max_blocks,
                      std::numeric_limits<std::int32_t>::min());
  slots_.resize(sessions.size() * options_.drafts);
  for (std::int64_t r = 0; r < std::ssize(sessions); ++r) {
    const Session& session = sessions[r];
    lengths_[r] = static_cast<std::int32_t>(session.position() + options_.drafts);
    std::copy(session.pages.begin(), session.pages.end(),
              block_table_.begin() + r * options_.max_blocks);
    for (std::int64_t t = 0; t < options_.drafts; ++t)
      slots_[r * options_.drafts + t] = slot_of(session, session.position() + t);
  }
}

void Engine::append_drafts(std::span<const Session> sessions, std::int64_t layer) {
  const std::int64_t count = std::ssize(slots_);
  for_ranges(count, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(qk_dim_));
    for (std::int64_t i = begin; i < end; ++i) {
      const Session& session = sessions[i / options_.drafts];
      const std::int64_t position = session.position() + i % options_.drafts;
      fill_row(options_.seed, {session.request, position, layer, session.step + 1}, row);
      encode_row(type_, row, rows_.as<std::uint16_t>() + i * qk_dim_);
    }
  });
  options_.append(cache(layer), options_.format, {rows_.data(), type_, {count, 1, qk_dim_}},
                  {slots_.data(), DType::i64, {count}});
}

void Engine::fill_queries(std::span<const Session> sessions, std::int64_t layer) {
  const std::int64_t heads = options_.heads;
  for_ranges(std::ssize(sessions) * options_.drafts * heads,
             [&](std::int64_t begin, std::int64_t end) {
               std::vector<float> query(static_cast<std::size_t>(qk_dim_));
               for (std::int64_t i = begin; i < end; ++i) {
                 const std::int64_t token = i / heads;
                 const Session& session = sessions[token / options_.drafts];
                 const std::int64_t position = session.position() + token % options_.drafts;
                 fill_query(options_.seed, {session.request, position, layer, session.step + 1},
                            i % heads, query);
                 encode_row(type_, query, queries_.as<std::uint16_t>() + i * qk_dim_);
               }
             });
}

// Tokens that the last step settled may complete rows of the extra cache.
void Engine::fill_lists(std::span<const Session> sessions, std::int64_t layer) {
  for (const Session& session : sessions) {
    const std::int64_t before = std::max(session.context, session.position() - options_.drafts);
    lists_.append_extra_rows(session, layer, before, session.position());
  }
  lists_.fill(sessions, layer);
}

double Engine::run_layer(const Plan& plan, std::int64_t batch, std::int64_t layer) {
  out_.poison();
  lse_.poison();
  Inputs inputs;
  inputs.q = {queries_.data(), type_, {batch, options_.drafts, options_.heads, qk_dim_}};
  inputs.kv_cache = cache(layer);
  if (sparse())
    lists_.add_to(inputs, batch, layer);
  else
    inputs.block_table = {block_table_.data(), DType::i32, {batch, options_.max_blocks}};
  Outputs outputs;
  outputs.out = {out_.data(), type_, {batch, options_.drafts, options_.heads, v_dim}};
  outputs.lse = {lse_.data(), DType::fp32, {batch, options_.heads, options_.drafts}};
  return seconds_of(
      [&] { run(plan, inputs, outputs, {run_workspace_.data(), run_workspace_.bytes()}); });
}

Result Engine::result(std::int64_t slot, std::int64_t query_token, std::int64_t head) const {
  const std::int64_t row = (slot * options_.drafts + query_token) * options_.heads + head;
  Result result{
      .out = std::vector<float>(v_dim),
      .lse = lse_.as<float>()[(slot * options_.heads + head) * options_.drafts + query_token]};
  support::decode(type_, {out_.as<std::uint16_t>() + row * v_dim, v_dim}, result.out);
  return result;
}

}  // namespace flashmla::tools
