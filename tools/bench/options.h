// What `flashmla bench` is asked.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "support/fp8.h"
#include "tools/dense_options.h"
#include "tools/shapes.h"

namespace flashmla::tools {

struct BenchOptions {
  std::string suite = "dense";
  std::vector<std::string> shapes;
  std::string format = "bf16";
  std::string backend = "cpu";
  int threads = 0;
  std::int64_t kv_heads = 1;
  std::int64_t qk_dim = 576;
  std::optional<std::int64_t> page_size;
  std::string scales = "power-of-two";
  std::optional<double> min_time;  // seconds
  std::optional<std::int64_t> rounds;
  std::uint64_t seed = 0;
  bool warm = false;
  bool with_schedule = false;
  bool host_time = false;
  std::vector<std::string> references;
  std::string json;

  // Tokens in a page where --page-size is absent: what engines have for the format.
  std::int64_t tokens_of_page() const { return page_size.value_or(format == "v4" ? 256 : 64); }
  support::ScaleRule scale_rule() const {
    using support::ScaleRule;
    if (scales == "power-of-two")
      return ScaleRule::power_of_two;
    return format == "v4" ? ScaleRule::power_of_two_floor : ScaleRule::exact;
  }

  bool on_gpu() const { return backend == "cuda"; }
  // On a GPU as the recorded figures were measured: at least 10 cold replays, more than 0.1 s of
  // hot ones.
  double seconds_of_calls() const { return min_time.value_or(on_gpu() ? 0.12 : 0.5); }
  std::int64_t cold_replays() const { return std::max<std::int64_t>(10, rounds.value_or(0)); }

  DenseOptions dense(const Shape& shape) const {
    DenseOptions dense;
    dense.batch = shape.batch;
    dense.query_tokens = shape.query_tokens;
    dense.query_heads = shape.query_heads;
    dense.kv_heads = kv_heads;
    dense.qk_dim = qk_dim;
    dense.page_size = tokens_of_page();
    dense.tokens = shape.tokens;
    dense.varlen = shape.varlen;
    dense.causal = shape.causal;
    dense.format = format;
    dense.backend = backend;
    dense.threads = threads;
    dense.seed = seed;
    return dense;
  }
};

}  // namespace flashmla::tools
