#include "tests/schedule/drawn_batch.h"

#include <cstring>
#include <limits>
#include <utility>

namespace flashmla::schedule {

namespace {

constexpr std::int32_t no_plan_holds = -1234567;

// One length; `shape` picks the distribution of the whole batch.
std::int32_t draw_length(support::Random& random, std::int64_t shape, std::int64_t max_length) {
  switch (shape) {
    case 0:
      return static_cast<std::int32_t>(max_length);
    case 1:
      return static_cast<std::int32_t>(random.between(0, max_length));
    case 2:
      return static_cast<std::int32_t>(random.log_between(1, max_length));
    case 3:
      return random.chance(0.9) ? 0 : static_cast<std::int32_t>(random.log_between(1, max_length));
    default:
      return static_cast<std::int32_t>(random.between(0, smaller<std::int64_t>(max_length, 200)));
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& text, const Batch& batch) {
  const SplitParams& params = batch.params;
  text << "workers " << params.workers << ", blocks of " << params.block_tokens << ", cost {"
       << params.cost.block_ns << ", " << params.cost.segment_ns << ", " << params.cost.split_ns
       << "}, speeds {" << params.speeds.fast_workers << ", " << params.speeds.fast << ", "
       << params.speeds.slow << "}, " << (params.batch_invariant ? "batch-invariant, " : "")
       << params.requests << " lengths";
  for (std::size_t i = 0; i < batch.lengths.size() && i < 40; ++i)
    text << ' ' << batch.lengths[i];
  return text << (batch.lengths.size() > 40 ? " ..." : "");
}

std::vector<CostModel> all_cost_models() {
  std::vector<CostModel> models;
  for (std::int64_t rows = 1; rows <= 256; ++rows) {
    models.push_back(cpu_cost_model(rows));
    for (const std::int64_t tile_rows : {16, 32, 64})
      models.push_back(hopper_cost_model(rows, tile_rows));
  }
  return models;
}

Batch draw_batch(std::uint64_t seed, bool batch_invariant) {
  static const std::vector<CostModel> models = all_cost_models();
  support::Random random(support::key_of(seed, batch_invariant));
  const std::int64_t requests = random.chance(0.02) ? 0 : random.log_between(1, 300);
  Batch batch;
  batch.params = {
      .requests = static_cast<std::int32_t>(requests),
      .workers = static_cast<std::int32_t>(random.log_between(1, 300)),
      .block_tokens = static_cast<std::int32_t>(random.pick({1, 16, 64, 64, 64, 128, 100})),
      .cost = random.pick(std::span<const CostModel>(models)),
      .batch_invariant = batch_invariant};
  if (!batch_invariant && random.chance(0.3))
    batch.params.speeds = {
        .fast_workers = static_cast<std::int32_t>(random.between(1, batch.params.workers)),
        .fast = static_cast<std::int32_t>(random.between(1, 20)),
        .slow = static_cast<std::int32_t>(random.between(1, 20))};
  const std::int64_t shape = random.between(0, 4);
  const std::int64_t max_length = random.log_between(1, 1 << 20);
  for (std::int64_t r = 0; r < requests; ++r)
    batch.lengths.push_back(draw_length(random, shape, max_length));
  if (requests > 0 && random.chance(0.15))
    batch.lengths[random.between(0, requests - 1)] =
        static_cast<std::int32_t>(random.log_between(1, std::numeric_limits<std::int32_t>::max()));
  return batch;
}

Batch batch_of(std::vector<std::int32_t> lengths, std::int32_t workers, const CostModel& cost,
               bool batch_invariant) {
  return {{.requests = static_cast<std::int32_t>(lengths.size()),
           .workers = workers,
           .block_tokens = 64,
           .cost = cost,
           .batch_invariant = batch_invariant},
          std::move(lengths)};
}

bool operator==(const Schedule& a, const Schedule& b) {
  const auto same = [](const auto& left, const auto& right) {
    return left.size() == right.size() &&
           std::memcmp(left.data(), right.data(), left.size() * sizeof(left[0])) == 0;
  };
  return same(a.split_offset, b.split_offset) && same(a.work, b.work) &&
         same(a.split_list, b.split_list);
}

template <class Ns>
SplitScratch<Ns>::SplitScratch(const SplitParams& params)
    : line(params.requests + 1, LinePlace<Ns>{no_plan_holds, no_plan_holds, no_plan_holds}),
      before(params.requests + 1, no_plan_holds),
      cuts(params.workers + 1, Cut{no_plan_holds, no_plan_holds, no_plan_holds, no_plan_holds}) {}

template <class Ns>
SplitMemory<Ns> memory_of(Schedule& schedule, SplitScratch<Ns>& scratch) {
  return {scratch.line.data(),  scratch.before.data(),        scratch.cuts.data(),
          schedule.work.data(), schedule.split_offset.data(), schedule.split_list.data()};
}

Schedule blank_schedule(const SplitParams& params) {
  constexpr std::int32_t x = no_plan_holds;
  return {std::vector<WorkRow>(params.workers, WorkRow{x, x, x, x, x, x, x, x}),
          std::vector<std::int32_t>(params.requests + 1, x),
          std::vector<SplitRequest>(params.workers + 1, SplitRequest{x, x, x, x})};
}

template <class Ns>
Schedule make_schedule(const Batch& batch) {
  Schedule schedule = blank_schedule(batch.params);
  SplitScratch<Ns> scratch(batch.params);
  split_kv(batch.params, batch.lengths.data(), memory_of(schedule, scratch), SerialTeam{});
  return schedule;
}

template struct SplitScratch<std::int32_t>;
template struct SplitScratch<std::int64_t>;
template SplitMemory<std::int32_t> memory_of(Schedule&, SplitScratch<std::int32_t>&);
template SplitMemory<std::int64_t> memory_of(Schedule&, SplitScratch<std::int64_t>&);
template Schedule make_schedule<std::int32_t>(const Batch&);
template Schedule make_schedule<std::int64_t>(const Batch&);

std::vector<std::vector<Segment>> segments_of(const Batch& batch, const Schedule& schedule) {
  constexpr std::int32_t any = std::numeric_limits<std::int32_t>::max();
  const SplitParams& params = batch.params;
  const Walk walk{.lengths = batch.lengths.data(),
                  .split_offset = schedule.split_offset.data(),
                  .requests = params.requests,
                  .workers = params.workers,
                  .block_tokens = params.block_tokens,
                  .max_tokens = any,
                  .partials = any};
  std::vector<std::vector<Segment>> segments(schedule.work.size());
  for (std::int32_t w = 0; w < params.workers; ++w)
    for_each_segment(walk, schedule.work[w], w,
                     [&](const Segment& segment) { segments[w].push_back(segment); });
  return segments;
}

std::vector<std::vector<Segment>> busy_segments_of(const Batch& batch, const Schedule& schedule) {
  std::vector<std::vector<Segment>> segments = segments_of(batch, schedule);
  for (std::vector<Segment>& share : segments)
    std::erase_if(share, [](const Segment& segment) { return segment.length == 0; });
  return segments;
}

}  // namespace flashmla::schedule
