// `flashmla bench`: times a list of shapes and holds them against the measured roofline.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "flashmla/decode.h"
#include "support/device/gpu_facts.h"
#include "support/generate.h"
#include "support/sparse_generate.h"
#include "tools/bench/graph_report.h"
#include "tools/bench/recorded.h"
#include "tools/bench/report.h"
#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/figures.h"
#include "tools/files.h"
#include "tools/machine.h"
#include "tools/option_values.h"
#include "tools/progress.h"
#include "tools/roofline.h"
#include "tools/scheduled_plan.h"
#include "tools/shapes.h"
#include "tools/sparse_options.h"

#if defined(FLASHMLA_HAS_CUDA)
#include "tools/bench/gpu_bench.h"
#endif

namespace flashmla::tools {

namespace {

using Clock = std::chrono::steady_clock;

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
  while (std::ssize(seconds) < options.rounds.value_or(5) || spent < options.seconds_of_calls()) {
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
  timing.min_bytes = timing.bytes / roofline.bytes_per_second;
  timing.min_flop = timing.flop / roofline.flop_per_second;
  return timing;
}

// A dense shape, not timed yet.
Timing dense_timing(const Shape& shape, const Problem& problem,
                    const support::DenseCase& dense_case, const Roofline& roofline) {
  double tokens = 0;
  for (const std::int32_t length : dense_case.lengths)
    tokens += length;
  return timing_of(shape, problem, static_cast<double>(problem.kv_heads) * tokens,
                   static_cast<double>(shape.query_tokens * shape.query_heads) * tokens, roofline);
}

Timing time_dense(const Shape& shape, const BenchOptions& options, const Roofline& roofline) {
  DenseOptions dense = options.dense(shape);
  const support::DenseCase dense_case = dense.to_case();
  const Problem problem = dense.problem(dense_case);
  support::HostMemory memory;
  const ScheduledPlan scheduled(problem, dense_case.lengths, memory);
  Timing timing = dense_timing(shape, problem, dense_case, roofline);
  demand_memory("--shape", 2 * timing.bytes);
  const support::DenseTensors tensors(dense_case, memory);
  timing.seconds =
      time_calls(scheduled, tensors.inputs(), tensors.outputs(), tensors.kv_cache, options);
  return timing;
}

// The shape's tokens are the entries of each list; the cache has four times as many slots for each
// request, and no fewer than sparse_slots.
support::SparseCase sparse_case_of(const Shape& shape, const BenchOptions& options) {
  constexpr std::int64_t sparse_slots = 8192;
  DenseOptions dense = options.dense(shape);
  dense.tokens = std::max(sparse_slots, 4 * shape.tokens);
  return sparse_case_of(kind_named(options.suite), dense, {.topk = shape.tokens});
}

Timing time_sparse(const Shape& shape, const BenchOptions& options, const Roofline& roofline) {
  const support::SparseCase sparse_case = sparse_case_of(shape, options);
  const Problem problem = problem_of(sparse_case, device_of_backend(options.backend));
  support::HostMemory memory;
  const ScheduledPlan scheduled(problem, {}, memory);
  const auto rows = static_cast<double>(shape.batch * shape.query_tokens * shape.tokens);
  Timing timing =
      timing_of(shape, problem, rows, static_cast<double>(shape.query_heads) * rows, roofline);
  demand_memory("--shape", 2 * timing.bytes);
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
  const std::span<const Shape> suite = shapes_of_suite(options.suite, options.on_gpu());
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
    DenseOptions dense = options.dense(shape);
    make_plan(dense.problem(dense.to_case()));
  }
}

// The records for this card, where the call is the recorded one: bf16 in pages of 64 tokens.
Recordings recordings_for(const BenchOptions& options) {
  if (!options.references.empty())
    return recordings_in(options.references);
  const bool as_recorded = options.format == "bf16" && options.page_size == 64 &&
                           options.kv_heads == 1 && options.qk_dim == 576;
  const auto gpu = options.on_gpu() ? support::gpu_facts(0) : std::nullopt;
  return gpu && as_recorded ? recordings_of_card(gpu->name) : Recordings();
}

#if defined(FLASHMLA_HAS_CUDA)
std::vector<Timing> time_on_gpu(const std::vector<Shape>& shapes, const BenchOptions& options,
                                const Roofline& roofline, const Recordings& recordings,
                                Progress& progress) {
  GpuBench bench(shapes, options);
  std::vector<Timing> timings;
  for (const Shape& shape : shapes) {
    DenseOptions dense = options.dense(shape);
    const support::DenseCase dense_case = dense.to_case();
    Timing& timing =
        timings.emplace_back(dense_timing(shape, dense.problem(dense_case), dense_case, roofline));
    GraphFigures graph = bench.time(timing);
    graph.recorded = recordings.find(shape, timing.tokens);
    timing.graph = std::move(graph);
    progress.advance();
  }
  return timings;
}
#else
// Not reached: without CUDA no shape has a plan on a GPU.
std::vector<Timing> time_on_gpu(const std::vector<Shape>& /*shapes*/,
                                const BenchOptions& /*options*/, const Roofline& /*roofline*/,
                                const Recordings& /*recordings*/, Progress& /*progress*/) {
  return {};
}
#endif

std::vector<Timing> time_on_cpu(const std::vector<Shape>& shapes, const BenchOptions& options,
                                const Roofline& roofline, Progress& progress) {
  std::vector<Timing> timings;
  for (const Shape& shape : shapes) {
    timings.push_back(time_shape(shape, options, roofline));
    progress.advance();
  }
  return timings;
}

void check_options(const BenchOptions& options) {
  if (!options.on_gpu() && (options.with_schedule || options.host_time))
    throw BadInput("--with-schedule, --host-time: wanted --backend cuda, they time CUDA graphs");
  if (options.on_gpu() && options.warm)
    throw BadInput("--warm: wanted --backend cpu; cuda times both, cold and hot");
  if (!options.json.empty() && options.json != "-")
    check_writable("--json", options.json);
}

int bench(const BenchOptions& options) {
  check_options(options);
  const std::vector<Shape> shapes = shapes_of(options);
  check_shapes(shapes, options);
  const Recordings recordings = recordings_for(options);
  std::vector<Timing> timings;
  Roofline roofline{};
  {
    Progress progress("bench", std::ssize(shapes) + 1);
    roofline = measure_roofline(device_of_backend(options.backend));
    progress.advance();
    timings = options.on_gpu() ? time_on_gpu(shapes, options, roofline, recordings, progress)
                               : time_on_cpu(shapes, options, roofline, progress);
  }
  const auto gpu = options.on_gpu() ? support::gpu_facts(0) : std::nullopt;
  if (options.json != "-" && gpu)
    fmt::print("{}", graph_table(timings, roofline, *gpu, recordings));
  else if (options.json != "-")
    print_table(timings, roofline);
  write_json(options.json, to_json(timings, roofline, options));
  return all_right;
}

}  // namespace

Subcommand add_bench(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("bench", "Time shapes against the measured roofline");
  const auto options = std::make_shared<BenchOptions>();
  add_choice_option(*app, "--suite", options->suite, {"dense", "sparse", "prefill"},
                    "Which list of shapes");
  add_texts_option(*app, "--shape", options->shapes, "SHAPE",
                   "b,s_q,h_q,tokens[,varlen][,causal] instead of the suite; may be repeated. "
                   "Sparse: tokens are those of each list, no flags");
  add_format_option(*app, options->format);
  add_integer_option(*app, "--page-size", options->page_size, 1, 65536, "Tokens in a page, dense");
  add_kv_heads_option(*app, options->kv_heads);
  add_qk_dim_option(*app, options->qk_dim);
  add_backend_options(*app, options->backend, options->threads);
  add_number_option(*app, "--min-time", options->min_time, 0, 3600,
                    "Seconds of calls for each shape, at least (default: cpu 0.5; cuda 0.12, of "
                    "hot replays)");
  add_integer_option(*app, "--rounds", options->rounds, 1, 1'000'000,
                     "Calls for each shape, at least (default: cpu 5; cuda 10 cold replays)");
  add_seed_option(*app, options->seed, "Of numbers and varlen lengths (default: 0)");
  add_switch(*app, "--warm", options->warm,
             "Read one cache again and again, not copies that exceed the last-level cache");
  add_switch(*app, "--with-schedule", options->with_schedule,
             "cuda: time schedule and run in one graph besides, and say what schedule adds");
  add_switch(*app, "--host-time", options->host_time,
             "cuda: time run on the host besides, and bare launches of its kernels");
  add_texts_option(*app, "--reference", options->references, "PATH",
                   "File of recorded figures to compare with; may be repeated (default: those that "
                   "came with the command for this GPU)");
  add_text_option(*app, "--json", options->json, "PATH",
                  "Write the figures to this file; - prints them instead");
  app->footer(
      "Example:\n  flashmla bench --shape 4,1,64,4096 --shape 8,2,128,1024,causal\n"
      "  flashmla bench --backend cuda --json bench.json\n"
      "On a GPU a call is a replay of a CUDA graph: cold, after a flush of the L2 cache, and hot, "
      "back to\nback.");
  return {app, [options] { return bench(*options); }};
}

}  // namespace flashmla::tools
