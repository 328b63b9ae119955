#include "backends/cuda/fill_call.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numbers>

#include "gpu/alignment.h"

namespace flashmla::backends::cuda {

namespace attend = sm90::attend;
using sm90::ops::FastDivisor;

namespace {

// The query tokens of a request of the batch that are requests of the schedule.
std::int32_t request_tokens_of(const Problem& problem) {
  return static_cast<std::int32_t>(ScheduleShape(problem).requests / problem.batch);
}

// Elements between neighbouring rows of a KV head in the output, which are the heads of a query
// token and then those of the next one. 0 where the distances differ or rows do not begin at
// multiples of 16 bytes.
std::int64_t row_distance(const attend::OutputTensors& output, const attend::Rows& rows) {
  const bool even =
      rows.query_tokens == 1 || output.strides.middle == rows.group * output.strides.head;
  return even && output.aligned ? output.strides.head : 0;
}

attend::OutputTensors tensors_of(const Inputs& inputs, const Outputs& outputs,
                                 const attend::Rows& rows) {
  attend::OutputTensors output{
      .out = static_cast<std::uint16_t*>(outputs.out.data),
      .strides = strides_of(outputs.out),
      .row_distance = 0,
      .lse = static_cast<float*>(outputs.lse.data),
      .lse_scale = static_cast<float>(std::numbers::ln2 * scale_of(outputs.lse_base)),
      .empty_lse = value_of(outputs.empty_lse),
      .sink = static_cast<const float*>(inputs.attn_sink.data),
      .aligned = gpu::rows_aligned(outputs.out)};
  output.row_distance = row_distance(output, rows);
  return output;
}

}  // namespace

attend::Strides strides_of(const TensorView& tensor) {
  return {tensor.strides[0], tensor.strides[1], tensor.strides[2]};
}

attend::Schedule schedule_of(const PlannedProblem& planned) {
  const schedule::Walk walk = planned.walk();
  const schedule::PlanMemory memory = planned.memory();
  return {.requests = planned.params.requests,
          .workers = planned.params.workers,
          .work = memory.work,
          .split_offset = memory.split_offset,
          .split_list = memory.split_list,
          .lengths = memory.lengths,
          .planned_tokens = walk.max_tokens,
          .partials = walk.partials,
          .status = memory.status};
}

attend::Rows rows_of(const Problem& problem) {
  const auto group = static_cast<std::int32_t>(problem.query_heads / problem.kv_heads);
  const auto tokens = static_cast<std::int32_t>(problem.query_tokens) / request_tokens_of(problem);
  return {.query_tokens = tokens,
          .query_heads = static_cast<std::int32_t>(problem.query_heads),
          .kv_heads = static_cast<std::int32_t>(problem.kv_heads),
          .group = group,
          .count = tokens * group,
          .by_group = FastDivisor::of(group)};
}

attend::Output output_of(const Inputs& inputs, const Outputs& outputs, const attend::Rows& rows) {
  return {tensors_of(inputs, outputs, rows)};
}

attend::TokenOutput token_output_of(const Problem& problem, const Inputs& inputs,
                                    const Outputs& outputs, const attend::Rows& rows) {
  const std::int32_t tokens = request_tokens_of(problem);
  return {tensors_of(inputs, outputs, rows), tokens, FastDivisor::of(tokens)};
}

attend::Partials partials_of(void* run_workspace, const PartialLayout& layout) {
  auto* const bytes = static_cast<std::byte*>(run_workspace);
  return {run_workspace, reinterpret_cast<attend::PartialRow*>(bytes + layout.out_bytes)};
}

attend::Scores scores_of(const Problem& problem, float softmax_scale) {
  // NOTE: the scale is not 0, because a masked score of −inf times 0 is NaN.
  return {.scale = std::max(std::abs(softmax_scale) * std::numbers::log2e_v<float>, FLT_MIN),
          .negated = softmax_scale < 0,
          .causal = problem.causal};
}

}  // namespace flashmla::backends::cuda
