// `flashmla bench`: times a list of shapes and holds them against the measured roofline.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>

#include "flashmla/backends.h"
#include "flashmla/decode.h"
#include "support/generate.h"
#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/figures.h"
#include "tools/files.h"
#include "tools/machine.h"
#include "tools/progress.h"
#include "tools/roofline.h"
#include "tools/scheduled_plan.h"
#include "tools/shapes.h"

namespace flashmla::tools {

namespace {

using Clock = std::chrono::steady_clock;

struct BenchOptions {
  std::string suite = "dense";
  std::vector<std::string> shapes;
  std::string format = "bf16";
  std::string backend = "cpu";
  int threads = 0;
  double min_time = 0.5;  // seconds
  std::int64_t rounds = 5;
  std::uint64_t seed = 1;
  bool warm = false;
  std::string json;
};

// A shape's measurement beside what the machine could do.
struct Timing {
  Shape shape{};
  std::int64_t tokens = 0;  // cached, of all requests
  Spread seconds;
  double bytes = 0;        // cached rows once, q and out
  double flop = 0;         // 2 · s_q · h_q · (d_qk + d_v) for each cached token
  double least_bytes = 0;  // seconds that the bytes take at the roofline's rate
  double least_flop = 0;   // the same for flop

  bool memory_bound() const { return least_bytes > least_flop; }
  double roofline_part() const { return std::max(least_bytes, least_flop) / seconds.median; }
};

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

Spread time_calls(const ScheduledPlan& scheduled, const support::DenseTensors& tensors,
                  const BenchOptions& options) {
  CacheCopies caches(tensors.kv_cache, options.warm);
  Inputs inputs = tensors.inputs();
  const auto timed_call = [&] {
    inputs.kv_cache.data = caches.next();
    const auto start = Clock::now();
    run(scheduled.plan(), inputs, tensors.outputs(), scheduled.run_workspace());
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

Timing time_shape(const Shape& shape, const BenchOptions& options, const Roofline& roofline) {
  DenseOptions dense = options_of(shape, options);
  const support::DenseCase dense_case = dense.to_case();
  const Problem problem = dense.problem(dense_case);
  const ScheduledPlan scheduled(problem, dense_case.lengths);
  Timing timing;
  timing.shape = shape;
  for (const std::int32_t length : dense_case.lengths)
    timing.tokens += length;
  const auto tokens = static_cast<double>(timing.tokens);
  const auto rows = static_cast<double>(dense_case.rows());
  const auto width = static_cast<double>(problem.qk_dim + problem.v_dim);
  timing.bytes = tokens * static_cast<double>(token_bytes(problem.kv_format, problem.qk_dim)) +
                 rows * width * static_cast<double>(size_of(problem.query_type));
  timing.flop = 2 * static_cast<double>(shape.query_tokens * shape.query_heads) * tokens * width;
  timing.least_bytes = timing.bytes / roofline.bytes_per_second;
  timing.least_flop = timing.flop / roofline.flop_per_second;

  demand_memory(2 * timing.bytes);
  support::HostMemory memory;
  const support::DenseTensors tensors(dense_case, memory);
  timing.seconds = time_calls(scheduled, tensors, options);
  return timing;
}

void print_table(const std::vector<Timing>& timings, const Roofline& roofline) {
  const Machine machine = this_machine();
  fmt::print("{}, {} threads; roofline: {:.1f} GB/s read, {:.3f} TFLOP/s\n\n", machine.processor,
             machine.threads, roofline.bytes_per_second * 1e-9, roofline.flop_per_second * 1e-12);
  fmt::print("{:<26} {:>8} {:>10} {:>21} {:>8} {:>8} {:>10}  {}\n", "b,s_q,h_q,tokens", "tokens",
             "median", "quartiles", "GB/s", "TFLOP/s", "% of roof", "bound");
  for (const Timing& t : timings)
    fmt::print("{:<26} {:>8} {:>10} {:>21} {:>8.2f} {:>8.4f} {:>10.1f}  {}\n", text_of(t.shape),
               t.tokens, seconds_text(t.seconds.median),
               fmt::format("{} - {}", seconds_text(t.seconds.lower_quartile),
                           seconds_text(t.seconds.upper_quartile)),
               t.bytes / t.seconds.median * 1e-9, t.flop / t.seconds.median * 1e-12,
               t.roofline_part() * 100, t.memory_bound() ? "memory" : "compute");
}

Json shape_json(const Timing& t) {
  return {{"shape", text_of(t.shape)},
          {"batch", t.shape.batch},
          {"query_tokens", t.shape.query_tokens},
          {"query_heads", t.shape.query_heads},
          {"tokens", t.tokens},
          {"varlen", t.shape.varlen},
          {"causal", t.shape.causal},
          {"calls", t.seconds.count},
          {"median_s", t.seconds.median},
          {"lower_quartile_s", t.seconds.lower_quartile},
          {"upper_quartile_s", t.seconds.upper_quartile},
          {"min_s", t.seconds.least},
          {"max_s", t.seconds.most},
          {"bytes", t.bytes},
          {"flop", t.flop},
          {"bytes_per_second", t.bytes / t.seconds.median},
          {"flop_per_second", t.flop / t.seconds.median},
          {"bound", t.memory_bound() ? "memory" : "compute"},
          {"roofline_part", t.roofline_part()}};
}

Json to_json(const std::vector<Timing>& timings, const Roofline& roofline,
             const BenchOptions& options) {
  const Machine machine = this_machine();
  Json shapes = Json::array();
  for (const Timing& timing : timings)
    shapes.push_back(shape_json(timing));
  return {{"version", version()},
          {"date", utc_time()},
          {"machine",
           {{"processor", machine.processor},
            {"system", machine.system},
            {"threads", machine.threads},
            {"cache_bytes", machine.cache_bytes},
            {"memory_bytes", machine.memory_bytes}}},
          {"backend", options.backend},
          {"format", options.format},
          {"seed", options.seed},
          {"warm", options.warm},
          {"roofline",
           {{"bytes_per_second", roofline.bytes_per_second},
            {"flop_per_second", roofline.flop_per_second}}},
          {"shapes", shapes}};
}

std::vector<Shape> shapes_of(const BenchOptions& options) {
  const std::span<const Shape> suite = dense_shapes();
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
      ->check(CLI::IsMember({"dense"}))
      ->capture_default_str();
  app->add_option("--shape", options->shapes,
                  "b,s_q,h_q,tokens[,varlen][,causal] instead of the suite; may be repeated")
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
