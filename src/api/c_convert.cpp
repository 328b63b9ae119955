#include "api/c_convert.h"

#include <algorithm>
#include <array>
#include <span>

namespace flashmla::api {

namespace {

static_assert(FLASHMLA_MAX_RANK == max_rank);
static_assert(FLASHMLA_WORKSPACE_ALIGNMENT == workspace_alignment);
static_assert(FLASHMLA_I64 == static_cast<int>(DType::i64));
static_assert(FLASHMLA_CUDA == static_cast<int>(DeviceType::cuda));
static_assert(FLASHMLA_KV_V4 == static_cast<int>(KvFormat::v4));
static_assert(FLASHMLA_LSE_TWO == static_cast<int>(LseBase::two));
static_assert(FLASHMLA_EMPTY_LSE_MINUS_INFINITY == static_cast<int>(EmptyLse::minus_infinity));
static_assert(FLASHMLA_SPARSE_PREFILL == static_cast<int>(AttentionKind::sparse_prefill));

bool switch_of(const char* argument, std::int32_t value) {
  check_range(argument, value, 0, 1);
  return value == 1;
}

Device device_of(const char* argument, std::int32_t type, std::int32_t index) {
  if (type != FLASHMLA_CPU && type != FLASHMLA_CUDA)
    reject(argument, text("device_type ", type), "FLASHMLA_CPU or FLASHMLA_CUDA");
  return {static_cast<DeviceType>(type), index};
}

}  // namespace

void check_struct_size(const char* argument, std::size_t size, std::size_t known) {
  if (size < known || size > max_struct_bytes)
    reject(argument, text("struct_size ", size),
           text("the sizeof of the struct, at least ", known));
}

Problem problem_of(const flashmla_problem* pointer) {
  const flashmla_problem c = read_struct("problem", pointer);
  if (c.reserved != 0)
    reject("reserved", text(c.reserved), "0");
  Problem problem;
  problem.kind = static_cast<AttentionKind>(c.kind);
  problem.device = device_of("device_type", c.device_type, c.device_index);
  problem.query_type = static_cast<DType>(c.query_type);
  problem.kv_format = static_cast<KvFormat>(c.kv_format);
  problem.batch = c.batch;
  problem.query_tokens = c.query_tokens;
  problem.query_heads = c.query_heads;
  problem.kv_heads = c.kv_heads;
  problem.qk_dim = c.qk_dim;
  problem.v_dim = c.v_dim;
  problem.page_size = c.page_size;
  problem.max_pages = c.max_pages;
  problem.topk = c.topk;
  problem.extra_topk = c.extra_topk;
  problem.extra_page_size = c.extra_page_size;
  problem.causal = switch_of("causal", c.causal);
  problem.ragged_queries = switch_of("ragged_queries", c.ragged_queries);
  problem.split_query = switch_of("split_query", c.split_query);
  problem.scaled_cache = switch_of("scaled_cache", c.scaled_cache);
  problem.batch_invariant = switch_of("batch_invariant", c.batch_invariant);
  problem.max_workers = c.max_workers;
  return problem;
}

flashmla_problem problem_of(const Problem& problem) {
  return {.struct_size = sizeof(flashmla_problem),
          .kind = static_cast<std::int32_t>(problem.kind),
          .device_type = static_cast<std::int32_t>(problem.device.type),
          .device_index = problem.device.index,
          .query_type = static_cast<std::int32_t>(problem.query_type),
          .kv_format = static_cast<std::int32_t>(problem.kv_format),
          .max_workers = problem.max_workers,
          .batch = problem.batch,
          .query_tokens = problem.query_tokens,
          .query_heads = problem.query_heads,
          .kv_heads = problem.kv_heads,
          .qk_dim = problem.qk_dim,
          .v_dim = problem.v_dim,
          .page_size = problem.page_size,
          .max_pages = problem.max_pages,
          .topk = problem.topk,
          .extra_topk = problem.extra_topk,
          .extra_page_size = problem.extra_page_size,
          .causal = problem.causal,
          .ragged_queries = problem.ragged_queries,
          .split_query = problem.split_query,
          .scaled_cache = problem.scaled_cache,
          .batch_invariant = problem.batch_invariant,
          .reserved = 0};
}

TensorView tensor_of(const char* argument, const flashmla_tensor* pointer) {
  if (pointer == nullptr)
    return {};
  const flashmla_tensor c = read_struct(argument, pointer);
  if (c.rank < 1 || c.rank > max_rank)
    reject(argument, text("rank ", c.rank), text("a rank from 1 to ", max_rank));
  TensorView view;
  view.data = c.data;
  view.dtype = static_cast<DType>(c.dtype);
  view.device = device_of(argument, c.device_type, c.device_index);
  view.rank = c.rank;
  std::copy_n(c.shape, max_rank, view.shape.begin());
  std::copy_n(c.strides, max_rank, view.strides.begin());
  return view;
}

Inputs inputs_of(const flashmla_inputs* pointer) {
  const flashmla_inputs c = read_struct("inputs", pointer);
  Inputs inputs;
  inputs.q = tensor_of("q", c.q);
  inputs.kv_cache = tensor_of("kv_cache", c.kv_cache);
  inputs.block_table = tensor_of("block_table", c.block_table);
  inputs.attn_sink = tensor_of("attn_sink", c.attn_sink);
  if (c.softmax_scale != nullptr)
    inputs.softmax_scale = *c.softmax_scale;
  inputs.indices = tensor_of("indices", c.indices);
  inputs.topk_length = tensor_of("topk_length", c.topk_length);
  inputs.extra_kv_cache = tensor_of("extra_kv_cache", c.extra_kv_cache);
  inputs.extra_indices = tensor_of("extra_indices", c.extra_indices);
  inputs.extra_topk_length = tensor_of("extra_topk_length", c.extra_topk_length);
  inputs.query_offsets = tensor_of("query_offsets", c.query_offsets);
  inputs.q_rotary = tensor_of("q_rotary", c.q_rotary);
  inputs.kv_scale = tensor_of("kv_scale", c.kv_scale);
  return inputs;
}

Outputs outputs_of(const flashmla_outputs* pointer) {
  const flashmla_outputs c = read_struct("outputs", pointer);
  Outputs outputs;
  outputs.out = tensor_of("out", c.out);
  outputs.lse = tensor_of("lse", c.lse);
  outputs.max_logits = tensor_of("max_logits", c.max_logits);
  outputs.lse_base = static_cast<LseBase>(c.lse_base);
  outputs.empty_lse = static_cast<EmptyLse>(c.empty_lse);
  return outputs;
}

KvFormat format_of(std::int32_t format) {
  const auto known = static_cast<KvFormat>(format);
  if (name_of(known) == "?")
    reject("format", text(format), "FLASHMLA_KV_BF16, _FP16, _V32 or _V4");
  return known;
}

void write_text(std::string_view value, char* text, std::size_t capacity, std::size_t* length) {
  if (capacity > 0) {
    const std::size_t written = std::min(value.size(), capacity - 1);
    value.copy(&given("text", text), written);
    text[written] = '\0';
  }
  if (length != nullptr)
    *length = value.size();
}

}  // namespace flashmla::api
