/* Sparse decoding over a DeepSeek-V3.2 cache through the C API: the program appends 100 tokens and
 * attends to some of them. examples/sparse_decode.cpp does the same in C++ and prints the same
 * text. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flashmla/c_api.h"

enum { tokens = 100, page_size = 64, pages = 2, heads = 4, topk = 40, qk_dim = 576, v_dim = 512 };

static void check(flashmla_status status) {
  if (status == FLASHMLA_OK)
    return;
  fprintf(stderr, "%s\n", flashmla_last_error());
  exit(1);
}

/* A random multiple of 1/64 between -1 and 1. bf16 holds it exactly: its bits are the upper half of
 * the fp32 bits. */
static uint16_t random_bf16(uint32_t* state) {
  *state = *state * 1664525u + 1013904223u;
  const float value = (float)(int32_t)(*state >> 25) / 64.0f - 1.0f;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (uint16_t)(bits >> 16);
}

static float float_of(uint16_t bits) {
  const uint32_t word = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &word, sizeof value);
  return value;
}

static flashmla_tensor tensor(void* data, int32_t dtype, int32_t rank, const int64_t* shape) {
  flashmla_tensor made;
  check(flashmla_tensor_init(&made, sizeof made, data, dtype, rank, shape));
  return made;
}

static void* workspace(size_t bytes) {
  const size_t unit = FLASHMLA_WORKSPACE_ALIGNMENT;
  void* memory = aligned_alloc(unit, (bytes / unit + 1) * unit);
  if (memory == NULL)
    exit(1);
  return memory;
}

int main(void) {
  static uint16_t rows[tokens * qk_dim], q[heads * qk_dim], out[heads * v_dim];
  static uint8_t cache[pages * page_size * 656];
  static int64_t slots[tokens];
  static int32_t indices[topk];
  static float sink[heads], lse[heads];
  uint32_t state = 7;
  for (int i = 0; i < tokens * qk_dim; ++i)
    rows[i] = random_bf16(&state);
  for (int i = 0; i < heads * qk_dim; ++i)
    q[i] = random_bf16(&state);
  for (int i = 0; i < tokens; ++i)
    slots[i] = i;
  for (int i = 0; i < topk; ++i)
    indices[i] = i % 5 == 4 ? -1 : i * 37 % tokens;
  for (int i = 0; i < heads; ++i)
    sink[i] = (float)i;

  const flashmla_tensor cache_tensor =
      tensor(cache, FLASHMLA_U8, 4, (const int64_t[]){pages, page_size, 1, 656});
  const flashmla_tensor row_tensor =
      tensor(rows, FLASHMLA_BF16, 3, (const int64_t[]){tokens, 1, qk_dim});
  const flashmla_tensor slot_tensor = tensor(slots, FLASHMLA_I64, 1, (const int64_t[]){tokens});
  check(flashmla_append(&cache_tensor, FLASHMLA_KV_V32, &row_tensor, &slot_tensor, NULL));

  flashmla_problem problem;
  check(flashmla_problem_init(&problem, sizeof problem));
  problem.kind = FLASHMLA_SPARSE_DECODE;
  problem.kv_format = FLASHMLA_KV_V32;
  problem.batch = 1;
  problem.query_heads = heads;
  problem.page_size = page_size;
  problem.topk = topk;

  flashmla_plan* plan = NULL;
  check(flashmla_plan_create(&problem, &plan));
  size_t plan_bytes = 0, run_bytes = 0;
  check(flashmla_plan_workspace_bytes(plan, &plan_bytes, &run_bytes));
  void* plan_memory = workspace(plan_bytes);
  void* run_memory = workspace(run_bytes);
  check(flashmla_plan_schedule(plan, NULL, plan_memory, plan_bytes, NULL));

  const flashmla_tensor q_tensor =
      tensor(q, FLASHMLA_BF16, 4, (const int64_t[]){1, 1, heads, qk_dim});
  const flashmla_tensor index_tensor =
      tensor(indices, FLASHMLA_I32, 3, (const int64_t[]){1, 1, topk});
  const flashmla_tensor sink_tensor = tensor(sink, FLASHMLA_FP32, 1, (const int64_t[]){heads});
  const flashmla_tensor out_tensor =
      tensor(out, FLASHMLA_BF16, 4, (const int64_t[]){1, 1, heads, v_dim});
  const flashmla_tensor lse_tensor = tensor(lse, FLASHMLA_FP32, 3, (const int64_t[]){1, heads, 1});
  const flashmla_inputs inputs = {.struct_size = sizeof inputs,
                                  .q = &q_tensor,
                                  .kv_cache = &cache_tensor,
                                  .attn_sink = &sink_tensor,
                                  .indices = &index_tensor};
  const flashmla_outputs outputs = {
      .struct_size = sizeof outputs, .out = &out_tensor, .lse = &lse_tensor};
  check(flashmla_run(plan, &inputs, &outputs, run_memory, run_bytes, NULL));

  for (int h = 0; h < heads; ++h) {
    printf("head %d: lse %.6f, out", h, lse[h]);
    for (int d = 0; d < v_dim; d += 128)
      printf(" %.6f", float_of(out[h * v_dim + d]));
    printf("\n");
  }

  /* Every error names the argument, what was given and what is wanted. */
  problem.page_size = 0;
  flashmla_plan* none = NULL;
  if (flashmla_plan_create(&problem, &none) != FLASHMLA_INVALID_ARGUMENT)
    return 1;
  printf("%s\n", flashmla_last_error());

  flashmla_plan_destroy(plan);
  free(plan_memory);
  free(run_memory);
  return 0;
}
