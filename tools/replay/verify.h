// Compares sampled results with the float64 oracle, which makes the rows anew from the seed and
// never looks into the cache.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "flashmla/dtype.h"
#include "flashmla/kv_format.h"
#include "support/compare.h"
#include "tools/replay/sampling.h"
#include "tools/replay/trace.h"

namespace flashmla::tools {

struct VerifyOptions {
  std::uint64_t seed = 0;
  DType type = DType::bf16;  // of queries and results
  KvFormat format = KvFormat::bf16;
  std::int64_t drafts = 1;
  std::int64_t qk_dim = 576;
  std::int64_t v_dim = 512;
  std::int64_t element_tokens = support::Comparison::exact_weights;
};

struct Verdict {
  std::int64_t checked = 0;
  support::Errors errors;               // over all samples
  std::vector<std::string> mismatches;  // one line each, naming step, request and head

  bool passed() const { return mismatches.empty(); }
};

// The attempts that wrote what a request's cache holds in decode step `request_step`, drafts of
// that step included: one for each position.
std::vector<std::int64_t> attempts_of(const VerifyOptions& options, std::int64_t request,
                                      const Request& tokens, std::int64_t request_step);

// `done` is told how many samples have been compared since it was last called.
Verdict verify(std::span<const Sample> samples, std::span<const Request> requests,
               const VerifyOptions& options, const std::function<void(std::int64_t)>& done);

}  // namespace flashmla::tools
