#include <cstdint>
#include <limits>

#include "api/validate.h"
#include "core/check.h"

namespace flashmla::api {

namespace {

// The name of a type, like "e4m3", or the number of a type that does not exist.
std::string type_text(DType type) {
  return name_of(type) == "?" ? text("type ", static_cast<int>(type)) : text(name_of(type));
}

constexpr std::int64_t max_requests = 131072;
constexpr std::int64_t max_heads = 65536;
constexpr std::int64_t max_tokens = std::numeric_limits<std::int32_t>::max();

void validate_enums(const Problem& p) {
  if (name_of(p.kind) == "?")
    reject("kind", text(static_cast<int>(p.kind)), "an AttentionKind");
  if (name_of(p.kv_format) == "?")
    reject("kv_format", text(static_cast<int>(p.kv_format)), "bf16, fp16, v32 or v4");
  if (p.query_type != DType::bf16 && p.query_type != DType::fp16)
    reject("query_type", type_text(p.query_type), "bf16 or fp16");
  if (p.device.type != DeviceType::cpu && p.device.type != DeviceType::cuda)
    reject("device", text("type ", static_cast<int>(p.device.type)), "cpu or cuda");
  check_range("device", p.device.index, 0, 1023);
}

void validate_heads(const Problem& p) {
  check_range<std::int64_t>("query_heads", p.query_heads, 1, max_heads);
  check_range<std::int64_t>("kv_heads", p.kv_heads, 1, max_heads);
  if (p.query_heads % p.kv_heads != 0)
    reject("query_heads", text(p.query_heads), text("a multiple of kv_heads = ", p.kv_heads));
  if (p.qk_dim != 576 && p.qk_dim != 512)
    reject("qk_dim", text(p.qk_dim), "576 or 512");
  if (p.v_dim != 512)
    reject("v_dim", text(p.v_dim), "512");
}

// The tokens of a request, max_pages · page_size, must fit int32.
void validate_paging(const Problem& p) {
  check_range<std::int64_t>("page_size", p.page_size, 1, max_tokens);
  check_range<std::int64_t>("max_pages", p.max_pages, 0, max_tokens);
  if (p.max_pages > max_tokens / p.page_size)
    reject("max_pages", text(p.max_pages, " pages of ", p.page_size, " tokens"),
           text("at most ", max_tokens, " tokens"));
}

void validate_no_lists(const Problem& p) {
  if (p.topk != 0)
    reject("topk", text(p.topk), "0 in dense decoding");
  if (p.extra_topk != 0)
    reject("extra_topk", text(p.extra_topk), "0 in dense decoding");
  if (p.extra_page_size != 0)
    reject("extra_page_size", text(p.extra_page_size), "0 in dense decoding");
}

void validate_lists(const Problem& p) {
  check_range<std::int64_t>("topk", p.topk, 0, max_tokens);
  check_range<std::int64_t>("extra_topk", p.extra_topk, 0, max_tokens - p.topk);
  // An extra cache is legal even where its lists have no entries.
  check_range<std::int64_t>("extra_page_size", p.extra_page_size, p.extra_topk > 0 ? 1 : 0,
                            max_tokens);
}

// The formats that a sparse call reads.
void validate_sparse_format(const Problem& p) {
  const bool decode = p.kind == AttentionKind::sparse_decode;
  if (p.query_type != DType::bf16)
    reject("query_type", text(name_of(p.query_type)), "bf16 in sparse attention");
  if (p.kv_format == KvFormat::fp16 || (!decode && p.kv_format != KvFormat::bf16))
    reject("kv_format", text(name_of(p.kv_format)),
           decode ? "bf16, v32 or v4 in sparse decoding" : "bf16 in sparse prefill");
  if (!is_plain(p.kv_format) && p.qk_dim != format_qk_dim(p.kv_format))
    reject("qk_dim", text(p.qk_dim),
           text(format_qk_dim(p.kv_format), ", which a ", name_of(p.kv_format), " cache holds"));
}

void validate_sparse(const Problem& p) {
  if (p.causal)
    reject("causal", "true", "false: sparse attention sees the tokens that its indices name");
  if (p.kv_heads != 1)
    reject("kv_heads", text(p.kv_heads), "1 in sparse attention");
  if (p.max_pages != 0)
    reject("max_pages", text(p.max_pages), "0: sparse attention has no block table");
  validate_lists(p);
  validate_sparse_format(p);
  if (p.query_tokens > 0 && p.batch > max_tokens / p.query_tokens)
    reject("query_tokens", text(p.query_tokens, " for each of ", p.batch, " requests"),
           text("at most ", max_tokens, " altogether"));
  if (p.kind == AttentionKind::sparse_decode)
    return;
  if (p.batch != 1)
    reject("batch", text(p.batch), "1 in sparse prefill, whose tensors have no batch dimension");
  if (p.extra_topk != 0)
    reject("extra_topk", text(p.extra_topk), "0 in sparse prefill");
  if (p.extra_page_size != 0)
    reject("extra_page_size", text(p.extra_page_size), "0 in sparse prefill");
}

}  // namespace

void validate_problem(const Problem& p) {
  validate_enums(p);
  check_range<std::int64_t>("batch", p.batch, 0, max_requests);
  check_range<std::int64_t>("query_tokens", p.query_tokens, 0, max_requests);
  validate_heads(p);
  validate_paging(p);
  check_range<std::int32_t>("max_workers", p.max_workers, 0, 65536);
  if (p.kind != AttentionKind::dense_decode)
    return validate_sparse(p);
  validate_no_lists(p);
  if (is_plain(p.kv_format) && cache_dtype(p.kv_format) != p.query_type)
    reject("kv_format", text(name_of(p.kv_format), " with ", name_of(p.query_type), " queries"),
           "the query's type");
}

}  // namespace flashmla::api
