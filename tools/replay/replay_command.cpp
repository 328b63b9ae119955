// `flashmla replay`: its options, and the steps from the trace to the report.
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "support/device/gpu_facts.h"
#include "support/random.h"
#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/files.h"
#include "tools/option_values.h"
#include "tools/progress.h"
#include "tools/replay/grouped_number.h"
#include "tools/replay/replay.h"
#include "tools/replay/report.h"
#include "tools/replay/statistics.h"
#include "tools/replay/svg.h"
#include "tools/replay/trace.h"
#include "tools/replay/verify.h"

namespace flashmla::tools {

namespace {

constexpr std::int64_t most = 2147483647;
constexpr std::int64_t default_tokens = 4096;  // of the cache, for each request of the batch

struct Arguments {
  std::string trace;
  ReplayOptions replay;
  std::string format = "bf16";
  std::string backend = "cpu";
  std::optional<std::int64_t> pages;  // enough for default_tokens where absent
  std::optional<std::int64_t> max_requests;
  std::optional<std::uint64_t> seed;  // a fresh one where absent
  double step_ms = 30;
  std::string svg = "replay.svg";
  std::string json;
  bool no_svg = false;
  bool no_check = false;
};

// The memory of the machine, or of the GPU that computes.
double memory_bytes(const std::string& backend) {
  if (device_of_backend(backend).type == DeviceType::cuda)
    if (const auto gpu = support::gpu_facts(0))
      return static_cast<double>(gpu->free_bytes);
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
}

// Refuses what does not fit into the memory now; the system would end the process later.
void require_memory(const ReplayOptions& options, const std::string& backend) {
  const ServerOptions& server = options.server;
  const auto cache_rows = static_cast<double>(server.pages * server.page_size * options.layers);
  const std::int64_t qk_dim = replay_qk_dim(options.format);
  const auto results = static_cast<double>(server.max_batch * server.drafts * options.heads);
  const std::int64_t extra_page =
      (server.page_size + tokens_of_extra_row - 1) / tokens_of_extra_row;
  const double extra_rows = options.format == KvFormat::v4
                                ? static_cast<double>(server.pages * extra_page * options.layers)
                                : 0;
  const double bytes =
      (cache_rows + extra_rows) * static_cast<double>(token_bytes(options.format, qk_dim)) +
      results * sizeof(std::uint16_t) * static_cast<double>(qk_dim + Engine::v_dim);
  const double memory = memory_bytes(backend);
  if (bytes > memory)
    throw BadInput(fmt::format(
        "--pages, --layers, --max-batch: given what takes {:.4g} GB, wanted at most the {:.4g} GB "
        "of this {}",
        bytes / 1e9, memory / 1e9, backend == "cuda" ? "GPU" : "machine"));
}

ReplayOptions replay_options(const Arguments& arguments) {
  ReplayOptions options = arguments.replay;
  ServerOptions& server = options.server;
  options.format = format_named(arguments.format);
  server.step_seconds = arguments.step_ms / 1e3;
  server.seed = arguments.seed ? *arguments.seed : support::fresh_seed();
  server.pages = arguments.pages.value_or(
      (server.max_batch * default_tokens + server.page_size - 1) / server.page_size);
  if (server.pages > most / server.page_size)
    throw BadInput(fmt::format("--pages: given {} pages of {} tokens, wanted at most {} tokens",
                               server.pages, server.page_size, most));
  require_memory(options, arguments.backend);
  return options;
}

Trace load(const Arguments& arguments) {
  Trace trace = read_trace(arguments.trace);
  if (trace.out_of_order > 0)
    fmt::print(stderr, "{}: {} arrivals out of order, sorted\n", arguments.trace,
               trace.out_of_order);
  if (arguments.max_requests && std::ssize(trace.requests) > *arguments.max_requests)
    trace.requests.resize(static_cast<std::size_t>(*arguments.max_requests));
  return trace;
}

void write_picture(const Arguments& arguments, const Report& report,
                   std::span<const StepRecord> steps) {
  const Picture picture{
      .title = fmt::format("FlashMLA replay of {}",
                           std::filesystem::path(arguments.trace).filename().string()),
      .subtitle = fmt::format(
          "{} requests, {} decode steps, {} tokens; {} heads, {} layer{}, {}, backend {}, seed {}",
          grouped(report.counts.served), grouped(report.counts.steps),
          grouped(report.counts.generated_tokens), report.options.heads, report.options.layers,
          report.options.layers == 1 ? "" : "s", name_of(report.options.format), report.backend,
          report.options.server.seed),
      .step_seconds = report.options.server.step_seconds};
  write_file("--svg", arguments.svg, draw_svg(picture, steps));
}

void show_mismatches(const Verdict& verdict) {
  constexpr std::size_t shown = 10;
  for (std::size_t i = 0; i < std::min(shown, verdict.mismatches.size()); ++i)
    fmt::print(stderr, "mismatch: {}\n", verdict.mismatches[i]);
  if (verdict.mismatches.size() > shown)
    fmt::print(stderr, "and {} more mismatches\n", verdict.mismatches.size() - shown);
}

Served serve_with_progress(std::span<const Request> requests, const ReplayOptions& options,
                           const Forecast& forecast, support::Memory& memory) {
  Engine engine(engine_options(options, forecast, memory.device()), memory);
  Progress progress("replay", forecast.token_steps);
  return serve(requests, options, forecast, engine,
               [&](std::int64_t amount) { progress.advance(amount); });
}

Verdict verify_with_progress(std::span<const Sample> samples, std::span<const Request> requests,
                             const ReplayOptions& options, const Device& device) {
  Progress progress("check", std::ssize(samples));
  using support::Comparison;
  const VerifyOptions verify_options{
      .seed = options.server.seed,
      .type = options.format == KvFormat::fp16 ? DType::fp16 : DType::bf16,
      .format = options.format,
      .drafts = options.server.drafts,
      .qk_dim = replay_qk_dim(options.format),
      .element_tokens = device.type == DeviceType::cuda ? Comparison::rounded_weights
                                                        : Comparison::exact_weights};
  return verify(samples, requests, verify_options,
                [&](std::int64_t amount) { progress.advance(amount); });
}

int run_replay(const Arguments& arguments) {
  const auto memory = memory_of_backend(arguments.backend);
  const ReplayOptions options = replay_options(arguments);
  if (!arguments.no_svg)
    check_writable("--svg", arguments.svg);
  if (!arguments.json.empty() && arguments.json != "-")
    check_writable("--json", arguments.json);
  const Trace trace = load(arguments);
  const Forecast forecast = forecast_of(trace.requests, options.server, options.format);
  const Served served = serve_with_progress(trace.requests, options, forecast, *memory);
  Report report{.trace = arguments.trace,
                .backend = arguments.backend,
                .options = options,
                .requests = trace.requests,
                .forecast = forecast,
                .counts = served.counts,
                .wall_seconds = served.wall_seconds,
                .latency = latency_of(served.steps),
                .usage = usage_of(served.steps),
                .work = decode_work(options, forecast, served.steps),
                .roofline = measure_roofline(memory->device()),
                .verdict = std::nullopt};
  if (!arguments.no_check)
    report.verdict =
        verify_with_progress(served.samples, trace.requests, options, memory->device());
  if (arguments.json != "-")
    fmt::print("{}", report_table(report));
  if (!arguments.no_svg)
    write_picture(arguments, report, served.steps);
  write_json(arguments.json, report_json(report));
  if (!report.verdict || report.verdict->passed())
    return all_right;
  show_mismatches(*report.verdict);
  return check_failed;
}

void add_model_options(CLI::App& app, Arguments& arguments) {
  ReplayOptions& replay = arguments.replay;
  add_integer_option(app, "--heads", replay.heads, 1, 1024, "Query heads");
  add_integer_option(app, "--layers", replay.layers, 1, 1024,
                     "Attention layers, each with its own cache");
  add_choice_option(app, "--format", arguments.format, {"bf16", "fp16", "v32", "v4"},
                    "Of the cache; v32 and v4 are sparse: indices are random tokens");
  add_integer_option(app, "--page-size", replay.server.page_size, 1, 65536,
                     "Tokens in a page of the cache");
  add_integer_option(app, "--pages", arguments.pages, 1, most,
                     "Pages of the cache (default: room for 4,096 tokens for each request of "
                     "--max-batch)");
  add_backend_option(app, arguments.backend);
}

void add_serving_options(CLI::App& app, Arguments& arguments) {
  ServerOptions& server = arguments.replay.server;
  add_integer_option(app, "--max-batch", server.max_batch, 1, 4096, "Requests decoded at once");
  add_integer_option(app, "--max-requests", arguments.max_requests, 1, most,
                     "Serve only the first so many requests");
  add_integer_option(app, "--speculative", server.drafts, 1, 64,
                     "Query tokens of a request in each step; 1 to all of them are accepted, by "
                     "the seed");
  show_default(add_number_option(app, "--step-ms", arguments.step_ms, 0.001, 1e6,
                                 "Virtual time of a decode step"),
               fmt::format("{}", arguments.step_ms));
  add_seed_option(app, arguments.seed, "Seed of all numbers (default: a fresh one, printed)");
}

void add_output_options(CLI::App& app, Arguments& arguments) {
  add_integer_option(app, "--samples", arguments.replay.samples, 1, 1'000'000,
                     "Results to compare with the oracle");
  add_switch(app, "--no-check", arguments.no_check, "Compare nothing with the oracle");
  add_text_option(app, "--svg", arguments.svg, "PATH", "Picture of the replay");
  add_switch(app, "--no-svg", arguments.no_svg, "Draw no picture");
  add_text_option(app, "--json", arguments.json, "PATH",
                  "Write the report to this file; - prints it instead");
}

constexpr const char* description =
    "Serve a trace of requests with continuous batching over a paged KV cache, computing every "
    "decode "
    "step, and check the results.";

constexpr const char* footer =
    "TRACE is CSV with the columns arrival_s, context_tokens and generated_tokens, or as services\n"
    "publish it: CSV with TIMESTAMP, ContextTokens and GeneratedTokens (Azure), or JSON lines\n"
    "with timestamp in milliseconds, input_length and output_length (Mooncake). - is standard\n"
    "input; either may be compressed by gzip.\n\n"
    "Time is virtual: a step takes --step-ms, a prompt no time. A request is admitted, first\n"
    "come, first served, when the batch has room and pages for its context and all its tokens\n"
    "can be reserved, so none is evicted on its way; it waits while the cache is full, and is\n"
    "rejected when it could never fit.\n\n"
    "Example:\n"
    "  flashmla replay traces/azure_conversation_2023.csv --max-requests 200 --json replay.json\n"
    "  zcat conversation_trace.jsonl.gz | flashmla replay - --max-requests 200";

}  // namespace

Subcommand add_replay(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("replay", description);
  app->footer(footer);
  const auto arguments = std::make_shared<Arguments>();
  add_text_option(*app, "TRACE", arguments->trace, "PATH", "Request trace")->required();
  add_model_options(*app, *arguments);
  add_serving_options(*app, *arguments);
  add_output_options(*app, *arguments);
  return {app, [arguments] { return run_replay(*arguments); }};
}

}  // namespace flashmla::tools
