#include "tools/replay/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace flashmla::tools {

Latency latency_of(std::span<const StepRecord> steps) {
  if (steps.empty())
    return {};
  std::vector<double> sorted;
  for (const StepRecord& step : steps)
    sorted.push_back(step.latency);
  std::sort(sorted.begin(), sorted.end());
  const auto count = static_cast<double>(sorted.size());
  const auto percentile = [&](double percent) {
    const double rank = std::ceil(count * percent / 100);
    return sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
  };
  return {.mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / count,
          .p50 = percentile(50),
          .p99 = percentile(99),
          .longest = sorted.back()};
}

DecodeWork decode_work(const ReplayOptions& options, const Forecast& forecast,
                       std::span<const StepRecord> steps) {
  DecodeWork work;
  for (const StepRecord& step : steps)
    work.seconds += step.latency;
  const std::int64_t qk_dim = replay_qk_dim(options.format);
  const auto layers = static_cast<double>(options.layers);
  const auto heads = static_cast<double>(options.heads);
  const auto row_bytes = static_cast<double>(token_bytes(options.format, qk_dim));
  const auto width = static_cast<double>(qk_dim + Engine::v_dim);
  const double result_bytes = 2 * width + sizeof(float);
  work.bytes = layers * (static_cast<double>(forecast.read_tokens) * row_bytes +
                         static_cast<double>(forecast.query_tokens) * heads * result_bytes);
  work.flop = layers * 2 * heads * width * static_cast<double>(forecast.token_steps);
  return work;
}

Usage usage_of(std::span<const StepRecord> steps) {
  Usage usage;
  for (const StepRecord& step : steps) {
    usage.mean_batch += static_cast<double>(step.batch);
    usage.mean_pages += static_cast<double>(step.pages);
    usage.peak_batch = std::max(usage.peak_batch, step.batch);
    usage.peak_pages = std::max(usage.peak_pages, step.pages);
    usage.peak_cached_tokens = std::max(usage.peak_cached_tokens, step.cached_tokens);
    usage.peak_queue = std::max(usage.peak_queue, step.queued);
  }
  const auto count = static_cast<double>(std::max<std::size_t>(steps.size(), 1));
  usage.mean_batch /= count;
  usage.mean_pages /= count;
  return usage;
}

}  // namespace flashmla::tools
