// `flashmla bench`: times a list of shapes and holds them against the measured roofline.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <nlohmann/json.hpp>

#include "support/device/gpu_facts.h"
#include "tools/bench/call_timer.h"
#include "tools/bench/graph_report.h"
#include "tools/bench/recorded.h"
#include "tools/bench/report.h"
#include "tools/bench/suites.h"
#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/files.h"
#include "tools/machine.h"
#include "tools/option_values.h"
#include "tools/progress.h"
#include "tools/roofline.h"

namespace flashmla::tools {

namespace {

// The records for this card, where the rows are those of the recorded calls: as the options have
// them by default.
Recordings recordings_for(const BenchOptions& options) {
  const std::string table =
      fmt::format("{}_{}", name_of(suite_named(options.suite).kind), options.format);
  if (!options.references.empty())
    return recordings_in(options.references, table);
  BenchOptions usual;
  usual.format = options.format;
  const bool as_recorded = options.tokens_of_page() == usual.tokens_of_page() &&
                           options.kv_heads == usual.kv_heads && options.qk_dim == usual.qk_dim;
  const auto gpu = options.on_gpu() ? support::gpu_facts(0) : std::nullopt;
  return gpu && as_recorded ? recordings_of_card(gpu->name, table) : Recordings();
}

std::unique_ptr<CallTimer> timer_for(const BenchOptions& options,
                                     [[maybe_unused]] support::Memory& memory) {
#if defined(FLASHMLA_HAS_CUDA)
  if (options.on_gpu())
    return gpu_timer(options, memory);
#endif
  return cpu_timer(options);
}

// Everything but the seconds.
Timing timing_of(const Workload& workload, const Roofline& roofline) {
  Timing timing;
  timing.shape = workload.shape();
  timing.tokens = workload.tokens();
  timing.cache_bytes = static_cast<double>(workload.cache_bytes()) +
                       static_cast<double>(workload.extra_cache().bytes());
  timing.bytes = workload.bytes();
  timing.flop = workload.flop();
  timing.min_bytes = timing.bytes / roofline.bytes_per_second;
  timing.min_flop = timing.flop / roofline.flop_per_second;
  return timing;
}

std::vector<Timing> time_all(const Workloads& workloads, const BenchOptions& options,
                             const Roofline& roofline, const Recordings& recordings,
                             Progress& progress) {
  const auto memory = memory_of_backend(options.backend);
  const auto timer = timer_for(options, *memory);
  const BenchTensors tensors(workloads, options.seed, *memory, options.scale_rule());
  std::vector<Timing> timings;
  for (const auto& workload : workloads) {
    Call call(*workload, tensors, *memory);
    Timing& timing = timings.emplace_back(timing_of(*workload, roofline));
    timer->time(call, timing);
    if (timing.graph)
      timing.graph->recorded = recordings.find(timing.shape, timing.tokens);
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
  const Workloads workloads = workloads_of(options);
  if (!options.on_gpu())
    demand_memory("--shape", 2 * bench_bytes(workloads));
  const Recordings recordings = recordings_for(options);
  std::vector<Timing> timings;
  Roofline roofline{};
  {
    Progress progress("bench", std::ssize(workloads) + 1);
    roofline = measure_roofline(device_of_backend(options.backend));
    progress.advance();
    timings = time_all(workloads, options, roofline, recordings, progress);
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
                   "Sparse: b,s_q,h_q,topk[+extra_topk[@extra_page]][,validN|,scatteredN], where "
                   "only the first N entries of a list name a slot, or N anywhere in it");
  add_format_option(*app, options->format);
  add_integer_option(*app, "--page-size", options->page_size, 1, 65536,
                     "Tokens in a page (default: 64; v4: 256)");
  add_choice_option(*app, "--scales", options->scales, {"power-of-two", "absmax"},
                    "Of FP8 caches: as the library writes them, or by the other rule in use: "
                    "absmax / 448 in v32, its power of two in v4");
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
      "  flashmla bench --suite sparse --format v4 --shape 2,2,64,128+512 --backend cuda\n"
      "On a GPU a call is a replay of a CUDA graph: cold, after a flush of the L2 cache, and hot, "
      "back to\nback.");
  return {app, [options] { return bench(*options); }};
}

}  // namespace flashmla::tools
