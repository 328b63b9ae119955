#include "tools/replay/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

#include "tools/replay/grouped_number.h"

namespace flashmla::tools {

namespace {

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

// The share of the decode time that a machine at its roofline would need.
double of_roofline(const Report& report) {
  const double attainable = std::max(ratio(report.work.bytes, report.roofline.bytes_per_second),
                                     ratio(report.work.flop, report.roofline.flop_per_second));
  return ratio(attainable, report.work.seconds);
}

double mean_wait(const ServerCounts& counts) {
  return ratio(counts.total_wait, static_cast<double>(counts.served));
}

template <class... Values>
void add_line(std::string& table, std::string_view name, fmt::format_string<Values...> format,
              Values&&... values) {
  table += fmt::format("  {:<18} {}\n", name, fmt::format(format, std::forward<Values>(values)...));
}

void add_rejected(std::string& table, const Report& report) {
  constexpr std::size_t shown = 5;
  const auto& rejected = report.counts.rejected;
  for (std::size_t i = 0; i < std::min(rejected.size(), shown); ++i) {
    const Request& request = report.requests[rejected[i]];
    add_line(table, "", "request {}: {} + {} tokens need {} pages, the cache has {}", rejected[i],
             grouped(request.context), grouped(request.generated),
             grouped(pages_needed(request, report.options.server)),
             grouped(report.options.server.pages));
  }
  if (rejected.size() > shown)
    add_line(table, "", "and {} more", rejected.size() - shown);
}

void add_check(std::string& table, const Report& report) {
  if (!report.verdict) {
    add_line(table, "check", "left out (--no-check)");
    return;
  }
  const Verdict& verdict = *report.verdict;
  add_line(table, "check", "{} results against the float64 oracle: {}", grouped(verdict.checked),
           verdict.passed() ? "all right" : "WRONG");
  add_line(table, "", "worst error / bound: out {:.3f}, lse {:.3f}", verdict.errors.out_row.worst,
           verdict.errors.lse.worst);
}

Json json_options(const Report& report) {
  const ServerOptions& server = report.options.server;
  return {{"backend", report.backend},           {"format", name_of(report.options.format)},
          {"heads", report.options.heads},       {"layers", report.options.layers},
          {"page_size", server.page_size},       {"pages", server.pages},
          {"max_batch", server.max_batch},       {"speculative", server.drafts},
          {"step_ms", server.step_seconds * 1e3}};
}

Json json_group(const support::GroupError& group) {
  return {{"count", group.count}, {"failures", group.failures}, {"worst", group.worst}};
}

// JSON has no infinity, so the worst error of a NaN becomes null.
Json json_check(const Verdict& verdict) {
  return {{"samples", verdict.checked},
          {"passed", verdict.passed()},
          {"mismatches", verdict.mismatches},
          {"error_over_bound",
           {{"out_row", json_group(verdict.errors.out_row)},
            {"lse", json_group(verdict.errors.lse)},
            {"out_tensor", json_group(verdict.errors.out_tensor)},
            {"lse_tensor", json_group(verdict.errors.lse_tensor)},
            {"element", json_group(verdict.errors.element)}}}};
}

Json json_decode(const Report& report) {
  const DecodeWork& work = report.work;
  return {{"seconds", work.seconds},
          {"bytes", work.bytes},
          {"flop", work.flop},
          {"gb_per_s", ratio(work.bytes, work.seconds) / 1e9},
          {"tflop_per_s", ratio(work.flop, work.seconds) / 1e12},
          {"roofline_gb_per_s", report.roofline.bytes_per_second / 1e9},
          {"roofline_tflop_per_s", report.roofline.flop_per_second / 1e12},
          {"of_roofline", of_roofline(report)}};
}

}  // namespace

std::string report_table(const Report& report) {
  const ServerOptions& server = report.options.server;
  const ServerCounts& counts = report.counts;
  const DecodeWork& work = report.work;
  const auto pages = static_cast<double>(server.pages);
  std::string table = fmt::format("{} (seed {})\n", report.trace, server.seed);
  add_line(table, "model", "{} heads, {} layer{}, {}, {} query token{} a step, backend {}",
           report.options.heads, report.options.layers, report.options.layers == 1 ? "" : "s",
           name_of(report.options.format), server.drafts, server.drafts == 1 ? "" : "s",
           report.backend);
  add_line(table, "requests", "{} served, {} rejected", grouped(counts.served),
           grouped(std::ssize(counts.rejected)));
  add_rejected(table, report);
  add_line(table, "decode steps", "{}, batch mean {:.1f}, peak {} of {}", grouped(counts.steps),
           report.usage.mean_batch, report.usage.peak_batch, server.max_batch);
  add_line(table, "generated tokens", "{}", grouped(counts.generated_tokens));
  add_line(table, "token-steps", "{}", grouped(report.forecast.token_steps));
  add_line(table, "speed", "{:.1f} tokens/s ({:.1f} s in all, check not counted)",
           ratio(static_cast<double>(counts.generated_tokens), report.wall_seconds),
           report.wall_seconds);
  add_line(table, "step latency", "p50 {:.3g} ms, p99 {:.3g} ms, longest {:.3g} ms{}",
           report.latency.p50 * 1e3, report.latency.p99 * 1e3, report.latency.longest * 1e3,
           report.backend == "cuda" ? " (of the GPU)" : "");
  add_line(table, "decode calls",
           "{:.3g} GB/s of {:.3g}, {:.3g} TFLOP/s of {:.3g}: {:.1f} % of the roofline",
           ratio(work.bytes, work.seconds) / 1e9, report.roofline.bytes_per_second / 1e9,
           ratio(work.flop, work.seconds) / 1e12, report.roofline.flop_per_second / 1e12,
           of_roofline(report) * 100);
  add_line(table, "cache", "{} pages of {} tokens, reserved mean {:.1f} %, peak {:.1f} %",
           grouped(server.pages), server.page_size, report.usage.mean_pages / pages * 100,
           static_cast<double>(report.usage.peak_pages) / pages * 100);
  add_line(table, "queue",
           "{} requests waited, wait mean {:.3g} s, longest {:.3g} s, at most {} in it",
           grouped(counts.waited), mean_wait(counts), counts.longest_wait, report.usage.peak_queue);
  add_check(table, report);
  return table;
}

Json report_json(const Report& report) {
  const ServerCounts& counts = report.counts;
  Json json = {
      {"trace", report.trace},
      {"seed", report.options.server.seed},
      {"options", json_options(report)},
      {"requests", report.requests.size()},
      {"served", counts.served},
      {"rejected", counts.rejected.size()},
      {"rejected_requests", counts.rejected},
      {"steps", counts.steps},
      {"generated_tokens", counts.generated_tokens},
      {"token_steps", report.forecast.token_steps},
      {"wall_s", report.wall_seconds},
      {"tokens_per_s", ratio(static_cast<double>(counts.generated_tokens), report.wall_seconds)},
      {"step_latency_ms",
       {{"mean", report.latency.mean * 1e3},
        {"p50", report.latency.p50 * 1e3},
        {"p99", report.latency.p99 * 1e3},
        {"longest", report.latency.longest * 1e3}}},
      {"decode", json_decode(report)},
      {"batch", {{"mean", report.usage.mean_batch}, {"peak", report.usage.peak_batch}}},
      {"cache",
       {{"mean_pages", report.usage.mean_pages},
        {"peak_pages", report.usage.peak_pages},
        {"peak_tokens", report.usage.peak_cached_tokens}}},
      {"queue",
       {{"waited", counts.waited},
        {"mean_wait_s", mean_wait(counts)},
        {"longest_wait_s", counts.longest_wait},
        {"peak", report.usage.peak_queue}}}};
  json["check"] = report.verdict ? json_check(*report.verdict) : Json();
  return json;
}

}  // namespace flashmla::tools
