#include "support/sparse_case.h"

#include <sstream>
#include <utility>

namespace flashmla::support {

Problem problem_of(const SparseCase& c, const Device& device) {
  Problem problem;
  problem.kind = c.kind;
  problem.device = device;
  problem.kv_format = c.format;
  problem.batch = c.batch;
  problem.query_tokens = c.query_tokens;
  problem.query_heads = c.query_heads;
  problem.qk_dim = c.qk_dim;
  problem.v_dim = c.v_dim;
  problem.page_size = c.page_size;
  problem.topk = c.topk;
  problem.extra_topk = c.extra_topk;
  problem.extra_page_size = c.extra_page_size;
  problem.batch_invariant = c.batch_invariant;
  problem.max_workers = c.max_workers;
  return problem;
}

std::string describe(const SparseCase& c) {
  std::ostringstream line;
  line << name_of(c.kind) << " " << name_of(c.format) << " b=" << c.batch
       << " s_q=" << c.query_tokens << " h_q=" << c.query_heads << " d_qk=" << c.qk_dim
       << " page=" << c.page_size << " num_pages=" << c.num_pages << " topk=" << c.topk;
  if (c.extra_topk > 0)
    line << " extra_topk=" << c.extra_topk << " extra_page=" << c.extra_page_size
         << " extra_pages=" << c.extra_pages;
  if (c.magnitude != 0)
    line << " magnitude=" << c.magnitude;
  if (c.page_gap > 0)
    line << " page_gap=" << c.page_gap;
  if (c.live_slots > 0)
    line << " live_slots=" << c.live_slots;
  describe_options(line, c, options_of(c));
  return std::move(line).str();
}

std::vector<CaseOption> options_of(const SparseCase& c) {
  std::vector<CaseOption> options{{"topk_length", c.topk_length},
                                  {"empty_lists", c.empty_lists},
                                  {"distinct_slots", c.distinct},
                                  {"invalid_indices", c.invalid_share > 0},
                                  {"holes", c.holes != Holes::scattered},
                                  {"nan_rows", c.nan_rows},
                                  {"magnitude", c.magnitude != 0},
                                  {"poisoned_slots", c.poisoned_share > 0},
                                  {"sink", c.sink},
                                  {"softmax_scale", c.softmax_scale.has_value()},
                                  {"batch_invariant", c.batch_invariant},
                                  {"max_workers", c.max_workers > 0},
                                  {"strided_q", c.q_padding > 0},
                                  {"strided_cache", c.cache_padding > 0},
                                  {"strided_out", c.out_padding > 0},
                                  {"strided_indices", c.index_padding > 0},
                                  {"d_qk_512", c.qk_dim == 512},
                                  {"odd_topk", c.topk % 64 != 0},
                                  {"topk_1024", c.topk >= 1024},
                                  {"few_heads", c.query_heads < 64}};
  if (c.prefill()) {
    options.push_back({"no_max_logits", !c.max_logits});
    return options;
  }
  options.insert(options.end(), {{"v32", c.format == KvFormat::v32},
                                 {"v4", c.format == KvFormat::v4},
                                 {"bf16", c.format == KvFormat::bf16},
                                 {"extra_cache", c.extra_topk > 0},
                                 {"extra_topk_length", c.extra_topk_length},
                                 {"other_scales", c.other_scales},
                                 {"hostile_scales", c.hostile_scales},
                                 {"packed_layers", c.page_gap > 0},
                                 {"other_page_size", c.page_size != 64}});
  return options;
}

}  // namespace flashmla::support
