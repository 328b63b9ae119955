#include "flashmla/problem.h"

#include "core/text.h"

namespace flashmla {

std::string describe(const Problem& p) {
  std::string line =
      text(name_of(p.kind), " ", name_of(p.query_type), "/", name_of(p.kv_format), " b=", p.batch,
           " s_q=", p.query_tokens, " h_q=", p.query_heads, " h_kv=", p.kv_heads, " d=", p.qk_dim,
           "/", p.v_dim, " page=", p.page_size, " max_pages=", p.max_pages);
  if (p.kind != AttentionKind::dense_decode || p.topk != 0)
    line += text(" topk=", p.topk);
  if (p.extra_topk > 0 || p.extra_page_size > 0)
    line += text(" extra_topk=", p.extra_topk, " extra_page=", p.extra_page_size);
  if (p.causal)
    line += " causal";
  if (p.ragged_queries)
    line += " ragged_queries";
  if (p.split_query)
    line += " split_query";
  if (p.scaled_cache)
    line += " scaled_cache";
  if (p.batch_invariant)
    line += " batch_invariant";
  if (p.max_workers > 0)
    line += text(" max_workers=", p.max_workers);
  return line + " on " + describe(p.device);
}

}  // namespace flashmla
