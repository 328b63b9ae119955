// A dense decoding case: everything that defines it, and nothing that is large. Its tensors follow
// from it (generate.h).
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "flashmla/problem.h"

namespace flashmla::support {

struct DenseCase {
  std::uint64_t seed = 0;  // of all numbers in the tensors

  DType type = DType::bf16;
  std::vector<std::int32_t> lengths;  // [b], tokens in each request's cache
  std::int64_t query_tokens = 1;      // s_q
  std::int64_t query_heads = 1;       // h_q
  std::int64_t kv_heads = 1;          // h_kv
  std::int64_t qk_dim = 576;
  std::int64_t v_dim = 512;
  std::int64_t page_size = 64;
  std::int64_t spare_pages = 0;  // block_table columns beyond what the longest request needs

  bool causal = false;
  bool sink = false;
  std::optional<float> softmax_scale;
  float common = 0;  // this times one row of random numbers is part of every cached row
  bool batch_invariant = false;
  std::int32_t max_workers = 0;

  // Memory. A padding is in elements, added to the stride of every dimension but the last.
  std::int64_t q_padding = 0;
  std::int64_t cache_padding = 0;
  std::int64_t out_padding = 0;
  std::int64_t table_padding = 0;
  bool permuted = false;      // padded tensors have heads outside of tokens in memory
  bool shared_pages = false;  // requests begin with the same pages

  // How the library computes it (dense_library.h).
  bool appended = false;  // it writes the cached rows itself, to a poisoned cache
  bool merged = false;    // in two parts of each request's pages, which it merges; not causal

  std::int64_t batch() const { return static_cast<std::int64_t>(lengths.size()); }
  std::int64_t rows() const { return batch() * query_tokens * query_heads; }
  std::int64_t longest() const;
  std::int64_t max_pages() const;

  // Cached tokens that a query token of a request sees.
  std::int64_t visible_tokens(std::int64_t request, std::int64_t query_token) const;
  // Σ over requests of rows × tokens.
  std::int64_t row_tokens() const;
};

Problem problem_of(const DenseCase& dense_case, const Device& device);

// One line.
std::string describe(const DenseCase& dense_case);

struct CaseOption {
  std::string_view name;
  bool on;
};

// The end of a case's line: what dense and sparse cases have both, and every option that is on.
template <class Case>
void describe_options(std::ostream& line, const Case& c, const std::vector<CaseOption>& options) {
  if (c.softmax_scale)
    line << " softmax_scale=" << *c.softmax_scale;
  if (c.common > 0)
    line << " common=" << c.common;
  if (c.max_workers > 0)
    line << " max_workers=" << c.max_workers;
  for (const CaseOption& option : options)
    if (option.on)
      line << " " << option.name;
  line << " seed=" << c.seed;
}

// Which of the options that a suite must exercise are on in a case; the same names in the same
// order for every case.
std::vector<CaseOption> options_of(const DenseCase& dense_case);

}  // namespace flashmla::support
