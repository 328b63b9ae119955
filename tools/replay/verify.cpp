#include "tools/replay/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "support/numeric.h"
#include "support/oracle.h"
#include "support/parallel.h"
#include "tools/replay/content.h"

namespace flashmla::tools {

namespace {

support::Reference reference_of(const Sample& sample, const std::vector<std::int64_t>& attempts,
                                std::int64_t tokens, const VerifyOptions& options) {
  const auto width = static_cast<std::size_t>(options.qk_dim);
  const support::RowSource rows = [&](std::int64_t first, std::int64_t count, float* to) {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::span<float> row(to + i * options.qk_dim, width);
      fill_row(options.seed, {sample.request, first + i, sample.layer, attempts[first + i]}, row);
      support::round_through(options.type, row);
    }
  };
  std::vector<float> query(width);
  fill_query(options.seed, {sample.request, tokens - 1, sample.layer, sample.request_step + 1},
             sample.head, query);
  support::round_through(options.type, query);
  const support::OracleShape shape{
      .qk_dim = options.qk_dim,
      .v_dim = options.v_dim,
      .softmax_scale = 1 / std::sqrt(static_cast<double>(options.qk_dim)),
      .type = options.type};
  const support::OracleQuery oracle_query{.q = query, .tokens = tokens};
  return support::attend(shape, {&oracle_query, 1}, rows).front();
}

support::Comparison compare(const Sample& sample, std::span<const Request> requests,
                            const VerifyOptions& options) {
  const std::vector<std::int64_t> attempts =
      attempts_of(options, sample.request, requests[sample.request], sample.request_step);
  // A query token sees itself and everything before it.
  const std::int64_t tokens = std::ssize(attempts) - options.drafts + sample.query_token + 1;
  support::Comparison comparison(options.type, true);
  comparison.add_row(sample.out, sample.lse, reference_of(sample, attempts, tokens, options),
                     tokens);
  return comparison;
}

// Empty where the row is right. The rules for whole tensors are for all samples together.
std::string mismatch(const Sample& sample, const support::Comparison& comparison) {
  const support::Errors errors = comparison.finish();
  if (errors.out_row.failures + errors.lse.failures + errors.element.failures == 0)
    return {};
  return fmt::format(
      "step {}, request {}, head {} (layer {}, query token {}): out is off by {:.3g} times its "
      "bound, "
      "lse by {:.3g}, the worst element by {:.3g}",
      sample.step, sample.request, sample.head, sample.layer, sample.query_token,
      errors.out_row.worst, errors.lse.worst, errors.element.worst);
}

}  // namespace

std::vector<std::int64_t> attempts_of(const VerifyOptions& options, std::int64_t request,
                                      const Request& tokens, std::int64_t request_step) {
  std::vector<std::int64_t> attempts(static_cast<std::size_t>(tokens.context), 0);
  std::int64_t left = tokens.generated;
  for (std::int64_t step = 0; step < request_step; ++step) {
    const std::int64_t accepted =
        accepted_drafts(options.seed, request, step, options.drafts, left);
    attempts.insert(attempts.end(), accepted, step + 1);
    left -= accepted;
  }
  attempts.insert(attempts.end(), options.drafts, request_step + 1);
  return attempts;
}

Verdict verify(std::span<const Sample> samples, std::span<const Request> requests,
               const VerifyOptions& options, const std::function<void(std::int64_t)>& done) {
  constexpr std::int64_t batch = 64;
  support::Comparison all(options.type, true);
  Verdict verdict;
  verdict.checked = std::ssize(samples);
  for (std::int64_t first = 0; first < verdict.checked; first += batch) {
    const std::int64_t count = std::min(batch, verdict.checked - first);
    std::vector<support::Comparison> comparisons(count, support::Comparison(options.type, true));
    support::parallel_for(count, [&](std::int64_t i) {
      comparisons[i] = compare(samples[first + i], requests, options);
    });
    for (std::int64_t i = 0; i < count; ++i) {
      if (std::string line = mismatch(samples[first + i], comparisons[i]); !line.empty())
        verdict.mismatches.push_back(std::move(line));
      all.add(comparisons[i]);
    }
    done(count);
  }
  verdict.errors = all.finish();
  if (verdict.mismatches.empty() && !verdict.errors.passed())
    verdict.mismatches.push_back(
        fmt::format("all samples together: out is off by {:.3g} times its bound, lse by {:.3g}",
                    verdict.errors.out_tensor.worst, verdict.errors.lse_tensor.worst));
  return verdict;
}

}  // namespace flashmla::tools
