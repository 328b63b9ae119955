#include "support/case.h"

#include <algorithm>
#include <sstream>

namespace flashmla::support {

std::int64_t DenseCase::longest() const {
  return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
}

std::int64_t DenseCase::max_pages() const {
  return std::max<std::int64_t>(1, (longest() + page_size - 1) / page_size) + spare_pages;
}

std::int64_t DenseCase::visible_tokens(std::int64_t request, std::int64_t query_token) const {
  const std::int64_t tokens = lengths[request];
  if (!causal)
    return tokens;
  return std::max<std::int64_t>(0, tokens - query_tokens + query_token + 1);
}

std::int64_t DenseCase::row_tokens() const {
  std::int64_t tokens = 0;
  for (const std::int32_t length : lengths)
    tokens += length;
  return tokens * query_tokens * query_heads;
}

Problem problem_of(const DenseCase& dense_case, const Device& device) {
  Problem problem;
  problem.device = device;
  problem.query_type = dense_case.type;
  problem.kv_format = dense_case.type == DType::fp16 ? KvFormat::fp16 : KvFormat::bf16;
  problem.batch = dense_case.batch();
  problem.query_tokens = dense_case.query_tokens;
  problem.query_heads = dense_case.query_heads;
  problem.kv_heads = dense_case.kv_heads;
  problem.qk_dim = dense_case.qk_dim;
  problem.v_dim = dense_case.v_dim;
  problem.page_size = dense_case.page_size;
  problem.max_pages = dense_case.max_pages();
  problem.causal = dense_case.causal;
  problem.batch_invariant = dense_case.batch_invariant;
  problem.max_workers = dense_case.max_workers;
  return problem;
}

std::string describe(const DenseCase& c) {
  std::ostringstream line;
  line << name_of(c.type) << " b=" << c.batch() << " s_q=" << c.query_tokens
       << " h_q=" << c.query_heads << " h_kv=" << c.kv_heads << " d_qk=" << c.qk_dim
       << " page=" << c.page_size << " max_pages=" << c.max_pages() << " lengths=[";
  constexpr std::size_t shown = 6;
  for (std::size_t r = 0; r < std::min(shown, c.lengths.size()); ++r)
    line << (r > 0 ? ", " : "") << c.lengths[r];
  line << (c.lengths.size() > shown ? ", …]" : "]") << " longest=" << c.longest();
  describe_options(line, c, options_of(c));
  return std::move(line).str();
}

std::vector<CaseOption> options_of(const DenseCase& c) {
  bool sees_nothing = false;
  for (std::int64_t r = 0; r < c.batch(); ++r)
    sees_nothing |= c.visible_tokens(r, 0) == 0;
  const bool zero_length = std::find(c.lengths.begin(), c.lengths.end(), 0) != c.lengths.end();
  return {{"causal", c.causal && c.query_tokens > 1},
          {"sink", c.sink},
          {"softmax_scale", c.softmax_scale.has_value()},
          {"kv_heads", c.kv_heads > 1},
          {"other_page_size", c.page_size != 64},
          {"strided_q", c.q_padding > 0},
          {"strided_cache", c.cache_padding > 0},
          {"strided_out", c.out_padding > 0},
          {"strided_table", c.table_padding > 0},
          {"zero_length", zero_length},
          {"sees_nothing", sees_nothing},
          {"batch_invariant", c.batch_invariant},
          {"max_workers", c.max_workers > 0},
          {"fp16", c.type == DType::fp16},
          {"d_qk_512", c.qk_dim == 512},
          {"shared_pages", c.shared_pages && c.batch() > 1},
          {"above_4096", c.longest() > 4096},
          {"above_32768", c.longest() > 32768},
          {"above_65536", c.longest() > 65536},
          {"appended", c.appended},
          {"merged", c.merged}};
}

}  // namespace flashmla::support
