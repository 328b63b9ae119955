// `flashmla bench`: times a list of shapes and holds them against the measured roofline.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "flashmla/decode.h"
#include "support/generate.h"
#include "support/sparse_generate.h"
#include "tools/bench_report.h"
#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/figures.h"
#include "tools/files.h"
#include "tools/machine.h"
#include "tools/progress.h"
#include "tools/roofline.h"
#include "tools/scheduled_plan.h"
#include "tools/shapes.h"
#include "tools/sparse_options.h"

namespace flashmla::tools {

namespace {

using Clock = std::chrono::steady_clock;

DenseOptions options_of(const Shape& shape, const BenchOptions& options) {
  DenseOptions dense;
  dense.batch = shape.batch;
  dense.query_tokens = shape.query_tokens;
  dense.query_heads = shape.query_heads;
  dense.tokens = shape.tokens;
  dense.varlen = shape.varlen;
  dense.causal = shape.causal;
  dense.format = options.format;
  dense.backend = options.backend;
  dense.threads = options.threads;
  dense.seed = options.seed;
  return dense;
}

// Copies of the cache that calls read in turn, as the layers of a model have a cache each: together
// they are twice the last-level cache, so that a call finds little of its own there. One where
// `warm`.
class CacheCopies {
 public:
  CacheCopies(const support::GuardedTensor& cache, bool warm) {
    constexpr std::size_t most = std::size_t{1} << 30;
    const Machine machine = this_machine();
    const std::size_t bytes = std::max<std::size_t>(1, cache.buffer.bytes());
    const std::size_t wanted = std::min({2 * machine.cache_bytes, most, machine.memory_bytes / 8});
    const std::size_t count = warm ? 1 : std::max<std::size_t>(1, wanted / bytes);
    for (std::size_t i = 0; i < count; ++i) {
      copies_.push_back(support::HostMemory().allocate(bytes));
      std::memcpy(copies_.back().get(), cache.buffer.data(), cache.buffer.bytes());
    }
  }

  void* next() {
    place_ = (place_ + 1) % copies_.size();
    return copies_[place_].get();
  }

 private:
  std::vector<std::shared_ptr<std::byte>> copies_;
  std::size_t place_ = 0;
};

Spread time_calls(const ScheduledPlan& scheduled, Inputs inputs, const Outputs& outputs,
                  const support::GuardedTensor& cache, const BenchOptions& options) {
  CacheCopies caches(cache, options.warm);
  const auto timed_call = [&] {
    inputs.kv_cache.data = caches.next();
    const auto start = Clock::now();
    run(scheduled.plan(), inputs, outputs, scheduled.run_workspace());
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  timed_call();  // threads start, memory is touched
  std::vector<double> seconds;
  double spent = 0;
  while (std::ssize(seconds) < options.rounds || spent < options.min_time) {
    seconds.push_back(timed_call());
    spent += seconds.back();
  }
  return spread_of(seconds);
}

// Everything but the seconds. `rows`: of the cache, each read once; `row_tokens`: Σ over query rows
// of the tokens that they attend to.
Timing timing_of(const Shape& shape, const Problem& problem, double rows, double row_tokens,
                 const Roofline& roofline) {
  Timing timing;
  timing.shape = shape;
  timing.tokens = static_cast<std::int64_t>(rows);
  const auto query_rows =
      static_cast<double>(problem.batch * problem.query_tokens * problem.query_heads);
  const auto width = static_cast<double>(problem.qk_dim + problem.v_dim);
  timing.bytes = rows * static_cast<double>(token_bytes(problem.kv_format, problem.qk_dim)) +
                 query_rows * width * static_cast<double>(size_of(problem.query_type));
  timing.flop = 2 * row_tokens * width;
  timing.least_bytes = timing.bytes / roofline.bytes_per_second;
  timing.least_flop = timing.flop / roofline.flop_per_second;
  demand_memory(2 * timing.bytes);
  return timing;
}

Timing time_dense(const Shape& shape, const BenchOptions& options, const Roofline& roofline) {
  DenseOptions dense = options_of(shape, options);
  const support::DenseCase dense_case = dense.to_case();
  const Problem problem = dense.problem(dense_case);
  const ScheduledPlan scheduled(problem, dense_case.lengths);
  double tokens = 0;
  for (const std::int32_t length : dense_case.lengths)
    tokens += length;
  Timing timing =
      timing_of(shape, problem, tokens,
                static_cast<double>(shape.query_tokens * shape.query_heads) * tokens, roofline);
  support::HostMemory memory;
  const support::DenseTensors tensors(dense_case, memory);
  timing.seconds =
      time_calls(scheduled, tensors.inputs(), tensors.outputs(), tensors.kv_cache, options);
  return timing;
}

// The shape's tokens are the entries of each list; the cache has four times as many slots for each
// request, and no fewer than sparse_slots.
support::SparseCase sparse_case_of(const Shape& shape, const BenchOptions& options) {
  constexpr std::int64_t sparse_slots = 8192;
  DenseOptions dense = options_of(shape, options);
  dense.tokens = std::max(sparse_slots, 4 * shape.tokens);
  return sparse_case_of(kind_named(options.suite), dense, {.topk = shape.tokens});
}

Timing time_sparse(const Shape& shape, const BenchOptions& options, const Roofline& roofline) {
  const support::SparseCase sparse_case = sparse_case_of(shape, options);
  const Problem problem = problem_of(sparse_case, device_of_backend(options.backend));
  const ScheduledPlan scheduled(problem, {});
  const auto rows = static_cast<double>(shape.batch * shape.query_tokens * shape.tokens);
  Timing timing =
      timing_of(shape, problem, rows, static_cast<double>(shape.query_heads) * rows, roofline);
  support::HostMemory memory;
  const support::SparseTensors tensors(sparse_case, memory);
  timing.seconds =
      time_calls(scheduled, tensors.inputs(), tensors.outputs(), tensors.main.cache, options);
  return timing;
}

Timing time_shape(const Shape& shape, const BenchOptions& options, const Roofline& roofline) {
  return options.suite == "dense" ? time_dense(shape, options, roofline)
                                  : time_sparse(shape, options, roofline);
}

std::vector<Shape> shapes_of(const BenchOptions& options) {
  const std::span<const Shape> suite = shapes_of_suite(options.suite);
  if (options.shapes.empty())
    return {suite.begin(), suite.end()};
  std::vector<Shape> shapes;
  for (const std::string& text : options.shapes)
    shapes.push_back(parse_shape(text));
  return shapes;
}

// Before any time is spent: every shape makes a plan.
void check_shapes(const std::vector<Shape>& shapes, const BenchOptions& options) {
  for (const Shape& shape : shapes) {
    if (options.suite != "dense") {
      make_plan(problem_of(sparse_case_of(shape, options), device_of_backend(options.backend)));
      continue;
    }
    DenseOptions dense = options_of(shape, options);
    make_plan(dense.problem(dense.to_case()));
  }
}

int bench(const BenchOptions& options) {
  if (!options.json.empty() && options.json != "-")
    check_writable("--json", options.json);
  const std::vector<Shape> shapes = shapes_of(options);
  check_shapes(shapes, options);
  std::vector<Timing> timings;
  Roofline roofline{};
  {
    Progress progress("bench", std::ssize(shapes) + 1);
    roofline = measure_roofline(device_of_backend(options.backend));
    progress.advance();
    for (const Shape& shape : shapes) {
      timings.push_back(time_shape(shape, options, roofline));
      progress.advance();
    }
  }
  if (options.json != "-")
    print_table(timings, roofline);
  write_json(options.json, to_json(timings, roofline, options));
  return all_right;
}

}  // namespace

Subcommand add_bench(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("bench", "Time shapes against the measured roofline");
  const auto options = std::make_shared<BenchOptions>();
  app->add_option("--suite", options->suite, "Which list of shapes")
      ->check(CLI::IsMember({"dense", "sparse", "prefill"}))
      ->capture_default_str();
  app->add_option("--shape", options->shapes,
                  "b,s_q,h_q,tokens[,varlen][,causal] instead of the suite; may be repeated. "
                  "Sparse: tokens are those of each list, no flags")
      ->allow_extra_args(false);
  add_format_option(*app, options->format);
  add_backend_options(*app, options->backend, options->threads);
  app->add_option("--min-time", options->min_time, "Seconds of calls for each shape, at least")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  app->add_option("--rounds", options->rounds, "Calls for each shape, at least")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app->add_option("--seed", options->seed, "Of numbers and varlen lengths")->capture_default_str();
  app->add_flag("--warm", options->warm,
                "Read one cache again and again, not copies that exceed the last-level cache");
  app->add_option("--json", options->json, "Write the figures to this file; - prints them instead");
  app->footer("Example:\n  flashmla bench --shape 4,1,64,4096 --shape 8,2,128,1024,causal");
  return {app, [options] { return bench(*options); }};
}

}  // namespace flashmla::tools
