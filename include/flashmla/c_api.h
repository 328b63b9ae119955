/* FlashMLA as a C library: everything that the C++ headers offer, with plain structs and status
 * codes. docs/c_api.md is the guide, and examples/sparse_decode.c is a whole program. The C++
 * headers that are named below give the meaning, shape and unit of every field.
 *
 * Every struct begins with struct_size. The caller sets it to the sizeof of the struct, so that the
 * library knows which version of the struct it sees. Fields that a caller knows and this library
 * does not know must be zero. Functions return a flashmla_status. Where the status is not
 * FLASHMLA_OK, nothing was written, all objects of the call stay usable, and flashmla_last_error()
 * says what was wrong. No exception leaves a function. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "flashmla/export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum flashmla_status {
  FLASHMLA_OK = 0,
  FLASHMLA_INVALID_ARGUMENT = 1, /* wrong shape, type, stride, device or value */
  FLASHMLA_UNSUPPORTED = 2,      /* the call is valid, but no backend serves it */
  FLASHMLA_DEVICE_FAILURE = 3,   /* a runtime or driver call failed */
  FLASHMLA_OUT_OF_MEMORY = 4,
  FLASHMLA_INTERNAL_ERROR = 5 /* a fault of the library */
} flashmla_status;

/* The last failure of this thread: the whole text, and its three parts. The pointers are never
 * null. The texts do not change until the next call of this thread fails. */
FLASHMLA_API const char* flashmla_last_error(void);
FLASHMLA_API const char* flashmla_last_error_argument(void);
FLASHMLA_API const char* flashmla_last_error_given(void);
FLASHMLA_API const char* flashmla_last_error_wanted(void);

FLASHMLA_API const char* flashmla_version(void); /* "0.1.0" */

typedef enum flashmla_dtype {
  FLASHMLA_BF16 = 0,
  FLASHMLA_FP16 = 1,
  FLASHMLA_FP32 = 2,
  FLASHMLA_E4M3 = 3,
  FLASHMLA_U8 = 4,
  FLASHMLA_I8 = 5,
  FLASHMLA_I32 = 6,
  FLASHMLA_I64 = 7
} flashmla_dtype;

typedef enum flashmla_device_type { FLASHMLA_CPU = 0, FLASHMLA_CUDA = 1 } flashmla_device_type;

/* flashmla/kv_format.h */
typedef enum flashmla_kv_format {
  FLASHMLA_KV_BF16 = 0,
  FLASHMLA_KV_FP16 = 1,
  FLASHMLA_KV_V32 = 2,
  FLASHMLA_KV_V4 = 3
} flashmla_kv_format;

typedef enum flashmla_attention_kind {
  FLASHMLA_DENSE_DECODE = 0,
  FLASHMLA_SPARSE_DECODE = 1,
  FLASHMLA_SPARSE_PREFILL = 2
} flashmla_attention_kind;

#define FLASHMLA_MAX_RANK 5
#define FLASHMLA_WORKSPACE_ALIGNMENT 256

/* flashmla/tensor_view.h. Strides are in elements. A null pointer to an optional tensor means that
 * the tensor is not given. */
typedef struct flashmla_tensor {
  size_t struct_size;
  void* data;
  int32_t dtype;       /* flashmla_dtype */
  int32_t device_type; /* flashmla_device_type */
  int32_t device_index;
  int32_t rank;
  int64_t shape[FLASHMLA_MAX_RANK];
  int64_t strides[FLASHMLA_MAX_RANK];
} flashmla_tensor;

/* A contiguous tensor of `rank` dimensions on the CPU. */
FLASHMLA_API flashmla_status flashmla_tensor_init(flashmla_tensor* tensor, size_t struct_size,
                                                  void* data, int32_t dtype, int32_t rank,
                                                  const int64_t* shape);

/* flashmla/problem.h. Switches are 0 or 1. */
typedef struct flashmla_problem {
  size_t struct_size;
  int32_t kind; /* flashmla_attention_kind */
  int32_t device_type;
  int32_t device_index;
  int32_t query_type; /* flashmla_dtype */
  int32_t kv_format;  /* flashmla_kv_format */
  int32_t max_workers;
  int64_t batch;
  int64_t query_tokens;
  int64_t query_heads;
  int64_t kv_heads;
  int64_t qk_dim;
  int64_t v_dim;
  int64_t page_size;
  int64_t max_pages;
  int64_t topk;
  int64_t extra_topk;
  int64_t extra_page_size;
  int32_t causal;
  int32_t ragged_queries;
  int32_t split_query;
  int32_t scaled_cache;
  int32_t batch_invariant;
  int32_t reserved; /* 0 */
} flashmla_problem;

/* The defaults of the C++ Problem. */
FLASHMLA_API flashmla_status flashmla_problem_init(flashmla_problem* problem, size_t struct_size);

/* A function that returns a text writes at most capacity − 1 bytes of it, and a final zero, to
 * `text`. *length becomes the full length of the text in bytes, without the final zero. `text` may
 * be null with capacity 0. `length` may be null. */
FLASHMLA_API flashmla_status flashmla_problem_describe(const flashmla_problem* problem, char* text,
                                                       size_t capacity, size_t* length);

/* Bytes of one cached token. qk_dim matters only in the formats bf16 and fp16. */
FLASHMLA_API flashmla_status flashmla_token_bytes(int32_t kv_format, int64_t qk_dim,
                                                  int64_t* bytes);

/* flashmla/plan.h: describe, plan, schedule, run. */
typedef struct flashmla_plan flashmla_plan;

FLASHMLA_API flashmla_status flashmla_plan_create(const flashmla_problem* problem,
                                                  flashmla_plan** plan);
FLASHMLA_API void flashmla_plan_destroy(flashmla_plan* plan); /* null: does nothing */

FLASHMLA_API flashmla_status flashmla_plan_problem(const flashmla_plan* plan,
                                                   flashmla_problem* problem);
FLASHMLA_API flashmla_status flashmla_plan_backend(const flashmla_plan* plan, char* text,
                                                   size_t capacity, size_t* length);
FLASHMLA_API flashmla_status flashmla_plan_workspace_bytes(const flashmla_plan* plan,
                                                           size_t* plan_workspace,
                                                           size_t* run_workspace);

/* `lengths` is null in sparse attention. Workspaces begin at multiples of
 * FLASHMLA_WORKSPACE_ALIGNMENT bytes. */
FLASHMLA_API flashmla_status flashmla_plan_schedule(flashmla_plan* plan,
                                                    const flashmla_tensor* lengths, void* workspace,
                                                    size_t workspace_bytes, void* stream);

/* Takes the schedule that a plan of an equal problem wrote into this memory. A schedule in host
 * memory is checked. */
FLASHMLA_API flashmla_status flashmla_plan_attach(flashmla_plan* plan, void* workspace,
                                                  size_t workspace_bytes);

/* The work of one worker; flashmla::WorkRow of flashmla/schedule_view.h says what the fields mean.
 */
typedef struct flashmla_work_row {
  int32_t first_request;
  int32_t last_request;
  int32_t first_block;
  int32_t end_block;
  int32_t first_split;
  int32_t flags;
  int32_t first_length;
  int32_t first_partial;
} flashmla_work_row;

typedef struct flashmla_schedule_view {
  size_t struct_size;
  int32_t workers;
  int32_t block_tokens;
  const flashmla_work_row* work;
  const int32_t* split_offset;
  const int32_t* lengths;
  int32_t* status;
} flashmla_schedule_view;

FLASHMLA_API flashmla_status flashmla_plan_view(const flashmla_plan* plan,
                                                flashmla_schedule_view* view);
FLASHMLA_API flashmla_status flashmla_plan_scheduled(const flashmla_plan* plan, int32_t* scheduled);
FLASHMLA_API flashmla_status flashmla_plan_status(const flashmla_plan* plan, void* stream,
                                                  int32_t* status);
FLASHMLA_API flashmla_status flashmla_plan_describe(const flashmla_plan* plan, char* text,
                                                    size_t capacity, size_t* length);

/* flashmla/decode.h. */
typedef struct flashmla_inputs {
  size_t struct_size;
  const flashmla_tensor* q;
  const flashmla_tensor* kv_cache;
  const flashmla_tensor* block_table;
  const flashmla_tensor* attn_sink;
  const float* softmax_scale; /* null: qk_dim^(-1/2) */
  const flashmla_tensor* indices;
  const flashmla_tensor* topk_length;
  const flashmla_tensor* extra_kv_cache;
  const flashmla_tensor* extra_indices;
  const flashmla_tensor* extra_topk_length;
  const flashmla_tensor* query_offsets;
  const flashmla_tensor* q_rotary;
  const flashmla_tensor* kv_scale;
} flashmla_inputs;

/* flashmla/lse.h */
typedef enum flashmla_lse_base { FLASHMLA_LSE_NATURAL = 0, FLASHMLA_LSE_TWO = 1 } flashmla_lse_base;

typedef enum flashmla_empty_lse {
  FLASHMLA_EMPTY_LSE_PLUS_INFINITY = 0,
  FLASHMLA_EMPTY_LSE_MINUS_INFINITY = 1
} flashmla_empty_lse;

typedef struct flashmla_outputs {
  size_t struct_size;
  const flashmla_tensor* out;
  const flashmla_tensor* lse;
  const flashmla_tensor* max_logits;
  int32_t lse_base;  /* flashmla_lse_base, of lse and max_logits */
  int32_t empty_lse; /* flashmla_empty_lse, lse of a query that sees no token */
} flashmla_outputs;

/* Computes attention with a plan that has a schedule:
 *   flashmla_run(plan, &inputs, &outputs, workspace, workspace_bytes, stream); */
FLASHMLA_API flashmla_status flashmla_run(const flashmla_plan* plan, const flashmla_inputs* inputs,
                                          const flashmla_outputs* outputs, void* workspace,
                                          size_t workspace_bytes, void* stream);

/* flashmla/kv_cache.h. One bf16 token for each of n slots, rows [n, 1, 576]:
 *   flashmla_append(&cache, FLASHMLA_KV_BF16, &rows, &slots, stream); */
FLASHMLA_API flashmla_status flashmla_append(const flashmla_tensor* cache, int32_t kv_format,
                                             const flashmla_tensor* rows,
                                             const flashmla_tensor* slots, void* stream);
FLASHMLA_API flashmla_status flashmla_gather(const flashmla_tensor* cache, int32_t kv_format,
                                             const flashmla_tensor* slots,
                                             const flashmla_tensor* rows, void* stream);
FLASHMLA_API flashmla_status flashmla_quantise(const flashmla_tensor* plain,
                                               const flashmla_tensor* cache, int32_t kv_format,
                                               void* stream);
FLASHMLA_API flashmla_status flashmla_dequantise(const flashmla_tensor* cache, int32_t kv_format,
                                                 const flashmla_tensor* plain, void* stream);

/* flashmla/merge.h. Part i, 0 ≤ i < parts, is part_outs[i] with part_lses[i]. outputs->max_logits
 * is null. */
FLASHMLA_API flashmla_status flashmla_merge(const flashmla_tensor* const* part_outs,
                                            const flashmla_tensor* const* part_lses, size_t parts,
                                            const flashmla_tensor* attn_sink,
                                            const flashmla_outputs* outputs, void* stream);

/* flashmla/backends.h. */
FLASHMLA_API flashmla_status flashmla_backend_count(int32_t* count);
FLASHMLA_API flashmla_status flashmla_backend_name(int32_t backend, char* text, size_t capacity,
                                                   size_t* length);
FLASHMLA_API flashmla_status flashmla_backend_unavailable(int32_t backend, char* text,
                                                          size_t capacity, size_t* length);
FLASHMLA_API flashmla_status flashmla_backend_device_count(int32_t backend, int32_t* count);
FLASHMLA_API flashmla_status flashmla_backend_device(int32_t backend, int32_t device, char* text,
                                                     size_t capacity, size_t* length);
/* Why a backend does not serve a problem. The text is empty where the backend serves it. */
FLASHMLA_API flashmla_status flashmla_refusal(const char* backend, const flashmla_problem* problem,
                                              char* text, size_t capacity, size_t* length);

FLASHMLA_API flashmla_status flashmla_set_cpu_threads(int32_t threads);
FLASHMLA_API flashmla_status flashmla_cpu_threads(int32_t* threads);

/* The LogCallback of backends.h: what it is told, and when. A null callback makes the library
   silent again. */
typedef void (*flashmla_log_callback)(const char* message, size_t length, void* user);
FLASHMLA_API flashmla_status flashmla_set_log_callback(flashmla_log_callback callback, void* user);

#ifdef __cplusplus
}
#endif
