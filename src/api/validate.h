// The checks of arguments, which happen nowhere else. Each function throws Error with the argument,
// what was given and what is wanted, before anything is written.
#pragma once

#include <cstdint>
#include <span>

#include "api/plan_state.h"
#include "backends/backend.h"
#include "flashmla/decode.h"
#include "flashmla/kv_format.h"
#include "flashmla/merge.h"
#include "flashmla/problem.h"

namespace flashmla::api {

void validate_problem(const Problem& problem);

void validate_workspace(const char* argument, const Workspace& workspace, std::size_t bytes);

// `lengths` must be int32 [b], contiguous. On the host its values must lie in
// 0 … max_pages · page_size. In sparse attention `lengths` must not be given.
void validate_lengths(const Problem& problem, const TensorView& lengths);

// The plan workspace, in host memory, must hold the schedule that follows from the lengths in it.
void validate_attached(const backends::PlannedProblem& planned);

// The block table must be wide enough for the longest request.
void validate_table_width(const TensorView& block_table, std::int64_t page_size,
                          const LongestRequest& longest);

void validate_run(const Problem& problem, const Inputs& inputs, const Outputs& outputs);

void validate_append(const TensorView& cache, KvFormat format, const TensorView& rows,
                     const TensorView& slots);

void validate_gather(const TensorView& cache, KvFormat format, const TensorView& slots,
                     const TensorView& rows);

void validate_quantise(const TensorView& plain, const TensorView& cache, KvFormat format);
void validate_dequantise(const TensorView& cache, KvFormat format, const TensorView& plain);

// `sink` may be absent; otherwise it must be fp32 [h_q].
void validate_sink(const TensorView& sink, std::int64_t heads, const Device& device);

// Checks lse_base and empty_lse.
void validate_lse_form(const Outputs& outputs);

void validate_merge(std::span<const PartialResult> parts, const TensorView& attn_sink,
                    const Outputs& outputs);

}  // namespace flashmla::api
