#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "api/cache_check.h"
#include "api/tensor_check.h"
#include "api/validate.h"
#include "core/check.h"
#include "flashmla/kv_format.h"

namespace flashmla::api {

namespace {

constexpr std::int64_t max_tokens = std::numeric_limits<std::int32_t>::max();

struct NamedTensor {
  const char* name;
  const TensorView& view;
};

void validate_absent(std::initializer_list<NamedTensor> tensors, std::string_view kind) {
  for (const NamedTensor& tensor : tensors)
    if (tensor.view.given())
      reject(tensor.name, describe(tensor.view), text("no tensor in ", kind));
}

// Optional inputs must be given exactly where the problem announces them.
void validate_announced(const Problem& p, const Inputs& in) {
  if (in.query_offsets.given() != p.ragged_queries)
    reject("query_offsets", describe(in.query_offsets),
           p.ragged_queries ? "a tensor, as ragged_queries is set" : "none without ragged_queries");
  if (in.q_rotary.given() != p.split_query)
    reject("q_rotary", describe(in.q_rotary),
           p.split_query ? "a tensor, as split_query is set" : "none without split_query");
  if (in.kv_scale.given() != p.scaled_cache)
    reject("kv_scale", describe(in.kv_scale),
           p.scaled_cache ? "a tensor, as scaled_cache is set" : "none without scaled_cache");
}

void validate_cache(const char* argument, const TensorView& cache, const Problem& p,
                    std::int64_t page_size) {
  check_cache(
      argument, cache,
      {.format = p.kv_format, .page_size = page_size, .kv_heads = p.kv_heads, .qk_dim = p.qk_dim})
      .on(p.device);
  if (cache.shape[0] > max_tokens)
    reject(argument, text(cache.shape[0], " pages"), text("at most ", max_tokens));
}

void validate_indices(const char* argument, const TensorView& indices, const Problem& p,
                      Dimension second, Dimension last) {
  const bool decode = p.kind == AttentionKind::sparse_decode;
  const Dimension first = decode ? Dimension{"b", p.batch} : Dimension{"s_q", p.query_tokens};
  TensorCheck(argument, indices)
      .on(p.device)
      .dtype({DType::i32})
      .shape({first, second, last})
      .last_dimension_contiguous();
}

void validate_counts(const char* argument, const TensorView& counts, const Problem& p,
                     Dimension dimension) {
  if (counts.given())
    TensorCheck(argument, counts).on(p.device).dtype({DType::i32}).shape({dimension}).contiguous();
}

void validate_dense(const Problem& p, const Inputs& in) {
  validate_cache("kv_cache", in.kv_cache, p, p.page_size);
  TensorCheck("block_table", in.block_table)
      .on(p.device)
      .dtype({DType::i32})
      .shape({{"b", p.batch}, {"max_pages", any_size}})
      .last_dimension_contiguous();
  const std::int64_t width = in.block_table.shape[1];
  if (width > max_tokens / p.page_size)
    reject("block_table", text(width, " pages of ", p.page_size, " tokens"),
           text("at most ", max_tokens, " tokens a request"));
  validate_absent({{"indices", in.indices},
                   {"topk_length", in.topk_length},
                   {"extra_kv_cache", in.extra_kv_cache},
                   {"extra_indices", in.extra_indices},
                   {"extra_topk_length", in.extra_topk_length}},
                  "dense decoding");
}

void validate_sparse_decode(const Problem& p, const Inputs& in) {
  validate_absent({{"block_table", in.block_table}}, "sparse attention");
  validate_cache("kv_cache", in.kv_cache, p, p.page_size);
  validate_indices("indices", in.indices, p, {"s_q", p.query_tokens}, {"topk", p.topk});
  validate_counts("topk_length", in.topk_length, p, {"b", p.batch});
  if (p.extra_page_size == 0)
    return validate_absent({{"extra_kv_cache", in.extra_kv_cache},
                            {"extra_indices", in.extra_indices},
                            {"extra_topk_length", in.extra_topk_length}},
                           "a problem whose extra_page_size is 0");
  validate_cache("extra_kv_cache", in.extra_kv_cache, p, p.extra_page_size);
  validate_indices("extra_indices", in.extra_indices, p, {"s_q", p.query_tokens},
                   {"extra_topk", p.extra_topk});
  validate_counts("extra_topk_length", in.extra_topk_length, p, {"b", p.batch});
}

void validate_sparse_prefill(const Problem& p, const Inputs& in) {
  validate_absent({{"block_table", in.block_table},
                   {"extra_kv_cache", in.extra_kv_cache},
                   {"extra_indices", in.extra_indices},
                   {"extra_topk_length", in.extra_topk_length}},
                  "sparse prefill");
  TensorCheck("kv_cache", in.kv_cache)
      .on(p.device)
      .dtype({cache_dtype(p.kv_format)})
      .shape({{"s_kv", any_size}, {"h_kv", p.kv_heads}, {"d_qk", p.qk_dim}})
      .last_dimension_contiguous();
  validate_indices("indices", in.indices, p, {"h_kv", p.kv_heads}, {"topk", p.topk});
  validate_counts("topk_length", in.topk_length, p, {"s_q", p.query_tokens});
}

// q and out must be [b, s_q, h_q, width], in prefill without b.
TensorCheck check_rows(const char* argument, const TensorView& rows, const Problem& p,
                       Dimension width) {
  TensorCheck check(argument, rows);
  check.on(p.device).dtype({p.query_type});
  if (p.kind == AttentionKind::sparse_prefill)
    check.shape({{"s_q", p.query_tokens}, {"h_q", p.query_heads}, width});
  else
    check.shape({{"b", p.batch}, {"s_q", p.query_tokens}, {"h_q", p.query_heads}, width});
  check.last_dimension_contiguous();
  return check;
}

void validate_query(const Problem& p, const Inputs& in) {
  if (!p.split_query) {
    check_rows("q", in.q, p, {"d_qk", p.qk_dim});
    return;
  }
  check_rows("q", in.q, p, {"d_qk - 64", p.qk_dim - rotary_elements});
  check_rows("q_rotary", in.q_rotary, p, {"rotary", rotary_elements});
}

// lse and max_logits must be [b, h_q, s_q], in prefill [s_q, h_q].
void validate_statistics(const char* argument, const TensorView& values, const Problem& p) {
  TensorCheck check(argument, values);
  check.on(p.device).dtype({DType::fp32});
  if (p.kind == AttentionKind::sparse_prefill)
    check.shape({{"s_q", p.query_tokens}, {"h_q", p.query_heads}});
  else
    check.shape({{"b", p.batch}, {"h_q", p.query_heads}, {"s_q", p.query_tokens}});
  check.contiguous();
}

}  // namespace

void validate_table_width(const TensorView& block_table, std::int64_t page_size,
                          const LongestRequest& longest) {
  const std::int64_t pages = (longest.tokens + page_size - 1) / page_size;
  if (longest.tokens > 0 && block_table.shape[1] < pages)
    reject("block_table",
           text(describe(block_table), " for request ", longest.request, " of ", longest.tokens,
                " tokens"),
           text("at least ", pages, " pages of ", page_size, " a request, as the schedule says"));
}

void validate_run(const Problem& p, const Inputs& in, const Outputs& outputs) {
  validate_announced(p, in);
  validate_query(p, in);
  switch (p.kind) {
    case AttentionKind::dense_decode:
      validate_dense(p, in);
      break;
    case AttentionKind::sparse_decode:
      validate_sparse_decode(p, in);
      break;
    case AttentionKind::sparse_prefill:
      validate_sparse_prefill(p, in);
      break;
  }
  validate_sink(in.attn_sink, p.query_heads, p.device);
  if (in.softmax_scale && !std::isfinite(*in.softmax_scale))
    reject("softmax_scale", text(*in.softmax_scale), "a finite number");
  check_rows("out", outputs.out, p, {"d_v", p.v_dim}).writable();
  validate_statistics("lse", outputs.lse, p);
  if (p.kind != AttentionKind::sparse_prefill)
    validate_absent({{"max_logits", outputs.max_logits}}, name_of(p.kind));
  else if (outputs.max_logits.given())
    validate_statistics("max_logits", outputs.max_logits, p);
  validate_lse_form(outputs);
}

}  // namespace flashmla::api
