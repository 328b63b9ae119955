#include "tools/bench/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "flashmla/backends.h"
#include "support/device/gpu_facts.h"
#include "tools/bench/graph_report.h"
#include "tools/machine.h"

namespace flashmla::tools {

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

namespace {

Json shape_json(const Timing& t) {
  Json json{{"shape", text_of(t.shape)},
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
            {"cache_bytes", t.cache_bytes},
            {"bytes", t.bytes},
            {"flop", t.flop},
            {"bytes_per_second", t.bytes / t.seconds.median},
            {"flop_per_second", t.flop / t.seconds.median},
            {"bound", t.memory_bound() ? "memory" : "compute"},
            {"roofline_part", t.roofline_part()}};
  add_graph_members(json, t);
  return json;
}

Json machine_json(const BenchOptions& options) {
  const Machine machine = this_machine();
  Json json{{"processor", machine.processor},
            {"system", machine.system},
            {"threads", machine.threads},
            {"cache_bytes", machine.cache_bytes},
            {"memory_bytes", machine.memory_bytes}};
  if (!options.on_gpu())
    return json;
  if (const auto gpu = support::gpu_facts(0))
    json["gpu"] = {{"name", gpu->name},
                   {"driver", gpu->driver},
                   {"multiprocessors", gpu->multiprocessors},
                   {"memory_bytes", gpu->memory_bytes}};
  return json;
}

}  // namespace

Json to_json(const std::vector<Timing>& timings, const Roofline& roofline,
             const BenchOptions& options) {
  Json shapes = Json::array();
  for (const Timing& timing : timings)
    shapes.push_back(shape_json(timing));
  Json json{{"version", version()},
            {"date", utc_time()},
            {"machine", machine_json(options)},
            {"backend", options.backend},
            {"suite", options.suite},
            {"format", options.format},
            {"seed", options.seed},
            {"warm", options.warm},
            {"page_size", options.tokens_of_page()},
            {"scales", options.scales},
            {"kv_heads", options.kv_heads},
            {"qk_dim", options.qk_dim},
            {"roofline",
             {{"bytes_per_second", roofline.bytes_per_second},
              {"flop_per_second", roofline.flop_per_second}}},
            {"shapes", shapes}};
  if (Json comparison = comparison_json(timings); !comparison.is_null())
    json["recorded"] = std::move(comparison);
  return json;
}

}  // namespace flashmla::tools
