// `flashmla plan`: prints how the work of a batch is divided.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>

#include "flashmla/plan.h"
#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/files.h"
#include "tools/option_values.h"
#include "tools/scheduled_plan.h"
#include "tools/segments.h"

namespace flashmla::tools {

namespace {

struct PlanOptions {
  DenseOptions dense;
  bool json = false;
};

Json segments_json(const Plan& plan, const ScheduleView& view, std::int32_t worker) {
  Json segments = Json::array();
  const auto requests = static_cast<std::int32_t>(plan.problem().batch);
  for (const Segment& segment : worker_segments(view, requests, worker))
    segments.push_back({{"request", segment.request},
                        {"first_block", segment.first_block},
                        {"end_block", segment.end_block},
                        {"split", segment.split}});
  return segments;
}

Json to_json(const Plan& plan, const ScheduleView& view) {
  Json workers = Json::array();
  for (std::int32_t w = 0; w < view.workers; ++w)
    workers.push_back(segments_json(plan, view, w));
  Json requests = Json::array();
  for (std::int32_t r = 0; r < plan.problem().batch; ++r)
    requests.push_back({{"tokens", view.lengths[r]},
                        {"blocks", blocks_of(view, r)},
                        {"segments", segments_of(view, r)}});
  return {{"problem", describe(plan.problem())},
          {"backend", plan.backend()},
          {"plan_workspace_bytes", plan.plan_workspace_bytes()},
          {"run_workspace_bytes", plan.run_workspace_bytes()},
          {"block_tokens", view.block_tokens},
          {"requests", requests},
          {"workers", workers}};
}

// Prints what each worker does, which Plan::describe() cannot read from a schedule on a GPU.
void print_workers(const Plan& plan, const ScheduleView& view) {
  const auto requests = static_cast<std::int32_t>(plan.problem().batch);
  for (std::int32_t w = 0; w < view.workers; ++w) {
    std::vector<Segment> segments = worker_segments(view, requests, w);
    const std::size_t all = segments.size();
    std::erase_if(segments, [](const Segment& s) { return s.end_block == s.first_block; });
    std::int64_t blocks = 0;
    for (const Segment& segment : segments)
      blocks += segment.end_block - segment.first_block;
    if (all == 0)
      continue;
    fmt::print("worker {}: ", w);
    if (!segments.empty())
      fmt::print("requests {} … {}, from block {} to block {}, ", segments.front().request,
                 segments.back().request, segments.front().first_block, segments.back().end_block);
    fmt::print("{} segments, ", all);
    if (all > segments.size())
      fmt::print("{} of requests without tokens, ", all - segments.size());
    fmt::print("{} blocks\n", blocks);
  }
}

// Prints the first requests of the batch, which may have 131,072.
void print_requests(const Plan& plan, const ScheduleView& view) {
  constexpr std::int64_t shown = 32;
  const std::int64_t requests = plan.problem().batch;
  fmt::print("{:>8} {:>10} {:>8} {:>9}\n", "request", "tokens", "blocks", "segments");
  for (std::int32_t r = 0; r < std::min(shown, requests); ++r)
    fmt::print("{:>8} {:>10} {:>8} {:>9}\n", r, view.lengths[r], blocks_of(view, r),
               segments_of(view, r));
  if (requests > shown)
    fmt::print("{} more requests: --json has them all\n", requests - shown);
}

int plan_command(PlanOptions options) {
  const support::DenseCase dense_case = options.dense.to_case();
  const auto memory = memory_of_backend(options.dense.backend);
  const ScheduledPlan scheduled(options.dense.problem(dense_case), dense_case.lengths, *memory);
  const HostSchedule schedule = scheduled.host_schedule();
  if (options.json) {
    write_json("-", to_json(scheduled.plan(), schedule.view()));
    return all_right;
  }
  fmt::print("{}", scheduled.plan().describe());
  if (memory->device().type != DeviceType::cpu)
    print_workers(scheduled.plan(), schedule.view());
  if (options.dense.varlen)
    fmt::print("lengths drawn from seed {}\n", dense_case.seed);
  print_requests(scheduled.plan(), schedule.view());
  return all_right;
}

}  // namespace

Subcommand add_plan(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("plan", "Print how the work of a batch is divided");
  const auto options = std::make_shared<PlanOptions>();
  add_dense_options(*app, options->dense);
  add_switch(*app, "--json", options->json, "Print JSON: every worker's segments, every request");
  app->footer("Example:\n  flashmla plan --heads 128 --lengths 8192,100,0,3000 --max-workers 8");
  return {app, [options] { return plan_command(*options); }};
}

}  // namespace flashmla::tools
