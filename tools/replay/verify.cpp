#include "tools/replay/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "support/fp8.h"
#include "support/numeric.h"
#include "support/oracle.h"
#include "support/parallel.h"
#include "tools/replay/content.h"
#include "tools/replay/selection.h"

namespace flashmla::tools {

namespace {

// The row as it comes out of the cache.
void store_and_load(const VerifyOptions& options, std::span<float> row) {
  if (is_plain(options.format))
    return support::round_through(options.type, row);
  std::vector<std::uint16_t> bits(row.size());
  support::encode(DType::bf16, row, bits);
  const auto token =
      support::quantise_token(options.format, bits, support::ScaleRule::power_of_two);
  support::decode(DType::bf16, support::dequantise_token(token), row);
}

// The rows that a sample's query token attends to: those of all its tokens, or those that it
// selects.
class AttendedRows {
 public:
  AttendedRows(const Sample& sample, std::vector<std::int64_t> attempts,
               const VerifyOptions& options)
      : sample_(sample), options_(options), attempts_(std::move(attempts)) {
    const std::int64_t settled = std::ssize(attempts_) - options.drafts;
    position_ = settled + sample.query_token;
    if (!is_plain(options.format))
      selection_ = select_rows(options.format, options.seed, query(), settled);
  }

  TokenPlace query() const {
    return {sample_.request, position_, sample_.layer, sample_.request_step + 1};
  }

  std::int64_t count() const {
    if (is_plain(options_.format))
      return position_ + 1;
    return std::ssize(selection_.tokens) + std::ssize(selection_.extra_rows);
  }

  void make(std::int64_t index, std::span<float> row) const {
    const std::int64_t tokens = std::ssize(selection_.tokens);
    if (is_plain(options_.format))
      make_token(index, row);
    else if (index < tokens)
      make_token(selection_.tokens[index], row);
    else
      fill_extra_row(options_.seed,
                     {sample_.request, selection_.extra_rows[index - tokens], sample_.layer, 0},
                     row);
    store_and_load(options_, row);
  }

 private:
  void make_token(std::int64_t position, std::span<float> row) const {
    fill_row(options_.seed, {sample_.request, position, sample_.layer, attempts_[position]}, row);
  }

  const Sample& sample_;
  const VerifyOptions& options_;
  std::vector<std::int64_t> attempts_;
  std::int64_t position_ = 0;
  Selection selection_;
};

support::Reference reference_of(const Sample& sample, const AttendedRows& attended,
                                const VerifyOptions& options) {
  const auto width = static_cast<std::size_t>(options.qk_dim);
  const support::RowSource rows = [&](std::int64_t first, std::int64_t count, float* to) {
    for (std::int64_t i = 0; i < count; ++i)
      attended.make(first + i, {to + i * options.qk_dim, width});
  };
  std::vector<float> query(width);
  fill_query(options.seed, attended.query(), sample.head, query);
  support::round_through(options.type, query);
  const support::OracleShape shape{
      .qk_dim = options.qk_dim,
      .v_dim = options.v_dim,
      .softmax_scale = 1 / std::sqrt(static_cast<double>(options.qk_dim)),
      .type = options.type};
  const support::OracleQuery oracle_query{.q = query, .tokens = attended.count()};
  return support::attend(shape, {&oracle_query, 1}, rows).front();
}

support::Comparison comparison_for(const VerifyOptions& options) {
  return {options.type, true,
          is_plain(options.format) ? AttentionKind::dense_decode : AttentionKind::sparse_decode,
          options.element_tokens};
}

support::Comparison compare(const Sample& sample, std::span<const Request> requests,
                            const VerifyOptions& options) {
  const AttendedRows attended(
      sample, attempts_of(options, sample.request, requests[sample.request], sample.request_step),
      options);
  support::Comparison comparison = comparison_for(options);
  comparison.add_row(sample.out, sample.lse, reference_of(sample, attended, options),
                     attended.count());
  return comparison;
}

// What is wrong with a row; empty where it is right. The rules for whole tensors judge all samples
// together.
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
  support::Comparison all = comparison_for(options);
  Verdict verdict;
  verdict.checked = std::ssize(samples);
  for (std::int64_t first = 0; first < verdict.checked; first += batch) {
    const std::int64_t count = std::min(batch, verdict.checked - first);
    std::vector<support::Comparison> comparisons(count, comparison_for(options));
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
