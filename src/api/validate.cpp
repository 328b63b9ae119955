#include "api/validate.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "api/tensor_check.h"
#include "core/check.h"

namespace flashmla::api {

namespace {

constexpr std::int64_t most_requests = 131072;
constexpr std::int64_t most_heads = 65536;
constexpr std::int64_t most_tokens = std::numeric_limits<std::int32_t>::max();

void validate_enums(const Problem& p) {
  if (name_of(p.kind) == "?")
    reject("kind", text(static_cast<int>(p.kind)), "an AttentionKind");
  if (name_of(p.kv_format) == "?")
    reject("kv_format", text(static_cast<int>(p.kv_format)), "bf16, fp16, v32 or v4");
  if (p.query_type != DType::bf16 && p.query_type != DType::fp16)
    reject("query_type", text(name_of(p.query_type)), "bf16 or fp16");
  if (p.device.type != DeviceType::cpu && p.device.type != DeviceType::cuda)
    reject("device", text("type ", static_cast<int>(p.device.type)), "cpu or cuda");
  check_range("device", p.device.index, 0, 1023);
}

void validate_heads(const Problem& p) {
  check_range<std::int64_t>("query_heads", p.query_heads, 1, most_heads);
  check_range<std::int64_t>("kv_heads", p.kv_heads, 1, most_heads);
  if (p.query_heads % p.kv_heads != 0)
    reject("query_heads", text(p.query_heads), text("a multiple of kv_heads = ", p.kv_heads));
  if (p.qk_dim != 576 && p.qk_dim != 512)
    reject("qk_dim", text(p.qk_dim), "576 or 512");
  if (p.v_dim != 512)
    reject("v_dim", text(p.v_dim), "512");
}

// Dense decoding: pages of a request and tokens in them, int32 altogether.
void validate_paging(const Problem& p) {
  check_range<std::int64_t>("page_size", p.page_size, 1, most_tokens);
  check_range<std::int64_t>("max_blocks", p.max_blocks, 0, most_tokens);
  if (p.max_blocks > most_tokens / p.page_size)
    reject("max_blocks", text(p.max_blocks, " pages of ", p.page_size, " tokens"),
           text("at most ", most_tokens, " tokens"));
}

void validate_sparse(const Problem& p) {
  if (p.kind == AttentionKind::dense_decode) {
    if (p.topk != 0)
      reject("topk", text(p.topk), "0 in dense decoding");
    if (p.extra_topk != 0)
      reject("extra_topk", text(p.extra_topk), "0 in dense decoding");
    if (p.extra_page_size != 0)
      reject("extra_page_size", text(p.extra_page_size), "0 in dense decoding");
    return;
  }
  if (p.causal)
    reject("causal", "true", "false: sparse attention sees what its indices name");
  check_range<std::int64_t>("topk", p.topk, 1, most_tokens);
  check_range<std::int64_t>("extra_topk", p.extra_topk, 0, most_tokens - p.topk);
  if (p.extra_topk > 0)
    check_range<std::int64_t>("extra_page_size", p.extra_page_size, 1, most_tokens);
}

void validate_dense_inputs(const Problem& p, const Inputs& in) {
  TensorCheck("block_table", in.block_table)
      .on(p.device)
      .dtype({DType::i32})
      .shape({{"b", p.batch}, {"max_blocks", any_size}})
      .last_dimension_contiguous();
  const std::int64_t width = in.block_table.shape[1];
  if (width > most_tokens / p.page_size)
    reject("block_table", text(width, " pages of ", p.page_size, " tokens"),
           text("at most ", most_tokens, " tokens a request"));
  const char* const sparse[] = {"indices", "topk_length", "extra_kv_cache", "extra_indices",
                                "extra_topk_length"};
  const TensorView* const given[] = {&in.indices, &in.topk_length, &in.extra_kv_cache,
                                     &in.extra_indices, &in.extra_topk_length};
  for (std::size_t i = 0; i < std::size(given); ++i)
    if (given[i]->given())
      reject(sparse[i], describe(*given[i]), "no tensor in dense decoding");
}

// Inputs that the problem did not announce are slips of the caller.
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

void validate_sink(const TensorView& sink, std::int64_t heads, const Device& device) {
  if (sink.given())
    TensorCheck("attn_sink", sink)
        .on(device)
        .dtype({DType::fp32})
        .shape({{"h_q", heads}})
        .contiguous();
}

}  // namespace

void validate_problem(const Problem& p) {
  validate_enums(p);
  check_range<std::int64_t>("batch", p.batch, 0, most_requests);
  check_range<std::int64_t>("query_tokens", p.query_tokens, 1, most_requests);
  validate_heads(p);
  validate_paging(p);
  validate_sparse(p);
  check_range<std::int32_t>("max_workers", p.max_workers, 0, 65536);
  if (p.kind == AttentionKind::dense_decode && is_plain(p.kv_format) &&
      cache_dtype(p.kv_format) != p.query_type)
    reject("kv_format", text(name_of(p.kv_format), " with ", name_of(p.query_type), " queries"),
           "the query's type");
}

void validate_workspace(const char* argument, const Workspace& workspace, std::size_t bytes) {
  if (workspace.bytes < bytes)
    reject(argument, text(workspace.bytes, " bytes"), text("at least ", bytes, " bytes"));
  if (bytes == 0)
    return;
  if (workspace.data == nullptr)
    reject(argument, "a null pointer", text(bytes, " bytes"));
  if (reinterpret_cast<std::uintptr_t>(workspace.data) % workspace_alignment != 0)
    reject(argument, "a misaligned pointer", text("alignment to ", workspace_alignment, " bytes"));
}

void validate_lengths(const Problem& p, const TensorView& lengths) {
  TensorCheck("lengths", lengths).dtype({DType::i32}).shape({{"b", p.batch}}).contiguous();
  if (lengths.device.type != DeviceType::cpu) {
    TensorCheck("lengths", lengths).on(p.device);
    return;
  }
  const auto* values = static_cast<const std::int32_t*>(lengths.data);
  const std::int64_t most = p.max_blocks * p.page_size;
  for (std::int64_t r = 0; r < p.batch; ++r)
    if (values[r] < 0 || values[r] > most)
      reject("lengths", text(values[r], " tokens for request ", r),
             text("0 … max_blocks · page_size = ", most));
}

void validate_run(const Problem& p, const Inputs& in, const Outputs& outputs) {
  validate_announced(p, in);
  TensorCheck("q", in.q)
      .on(p.device)
      .dtype({p.query_type})
      .shape({{"b", p.batch}, {"s_q", p.query_tokens}, {"h_q", p.query_heads}, {"d_qk", p.qk_dim}})
      .last_dimension_contiguous();
  TensorCheck("kv_cache", in.kv_cache)
      .on(p.device)
      .dtype({cache_dtype(p.kv_format)})
      .shape({{"num_blocks", any_size},
              {"page_size", p.page_size},
              {"h_kv", p.kv_heads},
              {"d_qk", token_elements(p.kv_format, p.qk_dim)}})
      .last_dimension_contiguous();
  if (in.kv_cache.shape[0] > most_tokens)
    reject("kv_cache", text(in.kv_cache.shape[0], " pages"), text("at most ", most_tokens));
  validate_dense_inputs(p, in);
  validate_sink(in.attn_sink, p.query_heads, p.device);
  if (in.softmax_scale && !std::isfinite(*in.softmax_scale))
    reject("softmax_scale", text(*in.softmax_scale), "a finite number");
  TensorCheck("out", outputs.out)
      .on(p.device)
      .dtype({p.query_type})
      .shape({{"b", p.batch}, {"s_q", p.query_tokens}, {"h_q", p.query_heads}, {"d_v", p.v_dim}})
      .last_dimension_contiguous()
      .writable();
  TensorCheck("lse", outputs.lse)
      .on(p.device)
      .dtype({DType::fp32})
      .shape({{"b", p.batch}, {"h_q", p.query_heads}, {"s_q", p.query_tokens}})
      .contiguous();
  if (outputs.max_logits.given())
    reject("max_logits", describe(outputs.max_logits), "no tensor outside sparse prefill");
}

void validate_append(const TensorView& cache, KvFormat format, const TensorView& rows,
                     const TensorView& slots) {
  if (name_of(format) == "?")
    reject("format", text(static_cast<int>(format)), "bf16, fp16, v32 or v4");
  const DType row_type = is_plain(format) ? cache_dtype(format) : DType::bf16;
  TensorCheck("rows", rows)
      .on(cache.device)
      .dtype({row_type})
      .shape({{"n", any_size}, {"h_kv", any_size}, {"d_qk", any_size}})
      .last_dimension_contiguous();
  TensorCheck("cache", cache)
      .dtype({cache_dtype(format)})
      .shape({{"num_blocks", any_size},
              {"page_size", any_size},
              {"h_kv", rows.shape[1]},
              {"d_qk", token_elements(format, rows.shape[2])}})
      .last_dimension_contiguous()
      .writable();
  TensorCheck("slots", slots)
      .on(cache.device)
      .dtype({DType::i64})
      .shape({{"n", rows.shape[0]}})
      .contiguous();
}

void validate_merge(std::span<const PartialResult> parts, const TensorView& attn_sink,
                    const TensorView& out, const TensorView& lse) {
  TensorCheck("out", out)
      .dtype({DType::bf16, DType::fp16, DType::fp32})
      .shape({{"b", any_size}, {"s_q", any_size}, {"h_q", any_size}, {"d_v", any_size}})
      .last_dimension_contiguous()
      .writable();
  const std::int64_t b = out.shape[0];
  const std::int64_t s_q = out.shape[1];
  const std::int64_t h_q = out.shape[2];
  TensorCheck("lse", lse)
      .on(out.device)
      .dtype({DType::fp32})
      .shape({{"b", b}, {"h_q", h_q}, {"s_q", s_q}})
      .contiguous();
  if (parts.empty())
    reject("parts", "none", "at least one partial result");
  for (std::size_t i = 0; i < parts.size(); ++i) {
    TensorCheck(text("parts[", i, "].out"), parts[i].out)
        .on(out.device)
        .dtype({out.dtype, DType::fp32})
        .shape({{"b", b}, {"s_q", s_q}, {"h_q", h_q}, {"d_v", out.shape[3]}})
        .last_dimension_contiguous();
    TensorCheck(text("parts[", i, "].lse"), parts[i].lse)
        .on(out.device)
        .dtype({DType::fp32})
        .shape({{"b", b}, {"h_q", h_q}, {"s_q", s_q}})
        .contiguous();
  }
  validate_sink(attn_sink, h_q, out.device);
}

}  // namespace flashmla::api
