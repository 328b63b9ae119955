// Valid calls of the C API in which some fields are replaced by arbitrary numbers. A call that is
// accepted is run. Every tensor has exactly the memory that its shape and strides need, so that
// AddressSanitizer sees an access outside. A tensor that needs too much has no memory.
#include <array>
#include <cstdio>
#include <cstring>

#include "flashmla/c_api.h"
#include "flashmla/kv_format.h"
#include "flashmla/tensor_view.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/c_tensors.h"
#include "tests/fuzz/demand.h"

namespace flashmla::fuzz {
namespace {

// How many calls that compute were accepted and run. The numbers are printed at the end.
struct Counts {
  long calls = 0;
  long accepted = 0;
  ~Counts() { std::fprintf(stderr, "accepted and run: %ld of %ld calls\n", accepted, calls); }
} counts;

void count(flashmla_status status) {
  ++counts.calls;
  counts.accepted += status == FLASHMLA_OK ? 1 : 0;
  expect_sane(status);
}

struct Shape {
  KvFormat format;
  std::int64_t batch, query_tokens, heads, kv_heads, dim, page, blocks, topk;
};

std::int32_t cache_type(KvFormat format) {
  return static_cast<std::int32_t>(cache_dtype(format));
}

flashmla_tensor* add_cache(Tensors& tensors, const Shape& s) {
  return tensors.add(cache_type(s.format),
                     {s.blocks, s.page, s.kv_heads, token_elements(s.format, s.dim)});
}

Shape draw_shape(ByteSource& source) {
  Shape s{.format = static_cast<KvFormat>(source.byte() % 4),
          .batch = source.between(0, 2),
          .query_tokens = source.between(0, 2),
          .heads = source.between(1, 3),
          .kv_heads = 1,
          .dim = source.flag() ? 512 : 576,
          .page = source.between(1, 3),
          .blocks = source.between(0, 3),
          .topk = source.between(0, 6)};
  if (!is_plain(s.format))
    s.dim = format_qk_dim(s.format);
  return s;
}

void spoil_problem(flashmla_problem& problem, ByteSource& source) {
  std::int64_t* const wide[] = {&problem.batch,      &problem.query_tokens,   &problem.query_heads,
                                &problem.kv_heads,   &problem.qk_dim,         &problem.v_dim,
                                &problem.page_size,  &problem.max_pages,      &problem.topk,
                                &problem.extra_topk, &problem.extra_page_size};
  std::int32_t* const narrow[] = {
      &problem.kind,         &problem.device_type,     &problem.device_index,
      &problem.query_type,   &problem.kv_format,       &problem.max_workers,
      &problem.causal,       &problem.ragged_queries,  &problem.split_query,
      &problem.scaled_cache, &problem.batch_invariant, &problem.reserved};
  if (source.flag()) {
    std::int64_t& field = *wide[source.byte() % std::size(wide)];
    field = source.edge(field);
  } else {
    std::int32_t& field = *narrow[source.byte() % std::size(narrow)];
    field = static_cast<std::int32_t>(source.edge(field));
  }
}

// Replaces numbers of a schedule. attach() must refuse a schedule that has changed, but it is run
// in any case.
void spoil_schedule(flashmla_plan* plan, void* memory, std::size_t bytes, ByteSource& source) {
  auto* const numbers = static_cast<std::int32_t*>(memory);
  const std::size_t count = bytes / sizeof *numbers;
  for (std::int64_t i = source.between(0, 7); i > 0; --i)
    numbers[source.word(2) % count] = static_cast<std::int32_t>(source.edge(3));
  expect_sane(flashmla_plan_attach(plan, memory, bytes));
}

void fuzz_run(ByteSource& source, int spoils) {
  Shape s = draw_shape(source);
  const auto kind = static_cast<flashmla_attention_kind>(source.byte() % 3);
  const bool prefill = kind == FLASHMLA_SPARSE_PREFILL;
  const bool dense = kind == FLASHMLA_DENSE_DECODE;
  const bool extra = kind == FLASHMLA_SPARSE_DECODE && source.flag();
  if (prefill) {
    s.batch = 1;
    s.format = KvFormat::bf16;
  }
  if (dense && !is_plain(s.format))
    s.format = KvFormat::bf16;
  if (!dense && s.format == KvFormat::fp16)
    s.format = KvFormat::bf16;
  if (dense && s.heads == 2)
    s.kv_heads = source.between(1, 2);
  flashmla_problem problem;
  expect_sane(flashmla_problem_init(&problem, sizeof problem));
  problem.kind = kind;
  problem.query_type = s.format == KvFormat::fp16 ? FLASHMLA_FP16 : FLASHMLA_BF16;
  problem.kv_format = static_cast<std::int32_t>(s.format);
  problem.batch = s.batch;
  problem.query_tokens = s.query_tokens;
  problem.query_heads = s.heads;
  problem.kv_heads = s.kv_heads;
  problem.qk_dim = s.dim;
  problem.page_size = s.page;
  problem.max_pages = dense ? 4 : 0;
  problem.topk = dense ? 0 : s.topk;
  const std::int64_t extra_topk = extra ? source.between(0, 3) : 0;
  problem.extra_topk = extra_topk;
  problem.extra_page_size = extra ? 2 : 0;
  problem.causal = dense && source.flag() ? 1 : 0;
  problem.batch_invariant = source.flag() ? 1 : 0;
  problem.max_workers = static_cast<std::int32_t>(source.between(0, 3));

  Tensors tensors(source);
  const std::int32_t type = problem.query_type;
  flashmla_inputs inputs{};
  flashmla_outputs outputs{};
  inputs.struct_size = sizeof inputs;
  outputs.struct_size = sizeof outputs;
  outputs.lse_base = source.byte() % 3;
  outputs.empty_lse = source.byte() % 3;
  flashmla_tensor* lengths = nullptr;
  if (prefill) {
    inputs.q = tensors.add(type, {s.query_tokens, s.heads, s.dim});
    inputs.kv_cache = tensors.add(type, {s.blocks, 1, s.dim});
    inputs.indices = tensors.add(FLASHMLA_I32, {s.query_tokens, 1, s.topk});
    outputs.out = tensors.add(type, {s.query_tokens, s.heads, 512});
    outputs.lse = tensors.add(FLASHMLA_FP32, {s.query_tokens, s.heads});
    if (source.flag())
      outputs.max_logits = tensors.add(FLASHMLA_FP32, {s.query_tokens, s.heads});
    if (source.flag())
      inputs.topk_length = tensors.add(FLASHMLA_I32, {s.query_tokens});
  } else {
    inputs.q = tensors.add(type, {s.batch, s.query_tokens, s.heads, s.dim});
    inputs.kv_cache = add_cache(tensors, s);
    outputs.out = tensors.add(type, {s.batch, s.query_tokens, s.heads, 512});
    outputs.lse = tensors.add(FLASHMLA_FP32, {s.batch, s.heads, s.query_tokens});
    if (dense) {
      inputs.block_table = tensors.add(FLASHMLA_I32, {s.batch, 4});
      lengths = tensors.add(FLASHMLA_I32, {s.batch});
    } else {
      inputs.indices = tensors.add(FLASHMLA_I32, {s.batch, s.query_tokens, s.topk});
      if (source.flag())
        inputs.topk_length = tensors.add(FLASHMLA_I32, {s.batch});
    }
    if (extra) {
      Shape other = s;
      other.page = 2;
      inputs.extra_kv_cache = add_cache(tensors, other);
      inputs.extra_indices = tensors.add(FLASHMLA_I32, {s.batch, s.query_tokens, extra_topk});
      if (source.flag())
        inputs.extra_topk_length = tensors.add(FLASHMLA_I32, {s.batch});
    }
  }
  if (source.flag())
    inputs.attn_sink = tensors.add(FLASHMLA_FP32, {s.heads});
  float scale = 0;
  if (source.flag()) {
    const auto bits = static_cast<std::uint32_t>(source.word(4));
    std::memcpy(&scale, &bits, sizeof scale);
    inputs.softmax_scale = &scale;
  }
  for (int i = 0; i < spoils; ++i)
    source.byte() % 4 == 0 ? spoil_problem(problem, source) : tensors.spoil();
  tensors.allocate();

  flashmla_plan* plan = nullptr;
  expect_sane(flashmla_plan_create(&problem, &plan));
  if (plan == nullptr)
    return;
  std::size_t plan_bytes = 0;
  std::size_t run_bytes = 0;
  FLASHMLA_DEMAND(flashmla_plan_workspace_bytes(plan, &plan_bytes, &run_bytes) == FLASHMLA_OK);
  const Memory plan_memory = workspace(plan_bytes);
  const Memory run_memory = workspace(run_bytes);
  expect_sane(flashmla_plan_schedule(plan, lengths, plan_memory.get(), plan_bytes, nullptr));
  if (plan_memory != nullptr && source.byte() % 4 == 0)
    spoil_schedule(plan, plan_memory.get(), plan_bytes, source);
  count(flashmla_run(plan, &inputs, &outputs, run_memory.get(), run_bytes, nullptr));
  std::array<char, 300> text;
  expect_sane(flashmla_plan_describe(plan, text.data(), source.byte(), nullptr));
  flashmla_plan_destroy(plan);
}

void fuzz_cache(ByteSource& source, int spoils) {
  const Shape s = draw_shape(source);
  const std::uint8_t call = source.byte() % 4;
  Tensors tensors(source);
  const std::int32_t type = s.format == KvFormat::fp16 ? FLASHMLA_FP16 : FLASHMLA_BF16;
  auto format = static_cast<std::int32_t>(s.format);
  const std::int64_t n = source.between(0, 3);
  flashmla_tensor* const cache = add_cache(tensors, s);
  flashmla_tensor* const rows =
      call < 2 ? tensors.add(type, {n, 1, s.dim}) : tensors.add(type, {s.blocks, s.page, 1, s.dim});
  flashmla_tensor* const slots = tensors.add(source.flag() ? FLASHMLA_I32 : FLASHMLA_I64, {n});
  for (int i = 0; i < spoils; ++i)
    tensors.spoil();
  if (spoils > 2 && source.flag())
    format = static_cast<std::int32_t>(source.edge(format));
  tensors.allocate();
  switch (call) {
    case 0:
      return count(flashmla_append(cache, format, rows, slots, nullptr));
    case 1:
      return count(flashmla_gather(cache, format, slots, rows, nullptr));
    case 2:
      return count(flashmla_quantise(rows, cache, format, nullptr));
    default:
      return count(flashmla_dequantise(cache, format, rows, nullptr));
  }
}

void fuzz_merge(ByteSource& source, int spoils) {
  const Shape s = draw_shape(source);
  Tensors tensors(source);
  std::array<const flashmla_tensor*, 2> outs{};
  std::array<const flashmla_tensor*, 2> lses{};
  const std::int32_t type = source.byte() % 3;
  for (std::size_t i = 0; i < 2; ++i) {
    outs[i] =
        tensors.add(source.flag() ? FLASHMLA_FP32 : type, {s.batch, s.query_tokens, s.heads, 16});
    lses[i] = tensors.add(FLASHMLA_FP32, {s.batch, s.heads, s.query_tokens});
  }
  flashmla_tensor* const out = tensors.add(type, {s.batch, s.query_tokens, s.heads, 16});
  flashmla_tensor* const lse = tensors.add(FLASHMLA_FP32, {s.batch, s.heads, s.query_tokens});
  flashmla_tensor* const sink = source.flag() ? tensors.add(FLASHMLA_FP32, {s.heads}) : nullptr;
  for (int i = 0; i < spoils; ++i)
    tensors.spoil();
  tensors.allocate();
  const flashmla_outputs outputs = {.struct_size = sizeof(flashmla_outputs),
                                    .out = out,
                                    .lse = lse,
                                    .max_logits = nullptr,
                                    .lse_base = source.byte() % 3,
                                    .empty_lse = source.byte() % 3};
  count(flashmla_merge(outs.data(), lses.data(), static_cast<std::size_t>(source.between(0, 2)),
                       sink, &outputs, nullptr));
}

}  // namespace
}  // namespace flashmla::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flashmla::fuzz;
  static const bool one_thread = flashmla_set_cpu_threads(1) == FLASHMLA_OK;
  FLASHMLA_DEMAND(one_thread);
  ByteSource source(data, size);
  const std::uint8_t call = source.byte() % 8;
  const int spoils = source.flag() ? 0 : static_cast<int>(source.between(1, 4));
  if (call < 5)
    fuzz_run(source, spoils);
  else if (call < 7)
    fuzz_cache(source, spoils);
  else
    fuzz_merge(source, spoils);
  return 0;
}
