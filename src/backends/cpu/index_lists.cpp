#include "backends/cpu/index_lists.h"

#include <algorithm>

namespace flashmla::backends::cpu {

namespace {

// Adds a first dimension of size 1.
void add_request(TensorView& tensor) {
  if (!tensor.given())
    return;
  std::copy_backward(tensor.shape.begin(), tensor.shape.end() - 1, tensor.shape.end());
  std::copy_backward(tensor.strides.begin(), tensor.strides.end() - 1, tensor.strides.end());
  tensor.shape[0] = 1;
  tensor.strides[0] = 0;
  ++tensor.rank;
}

}  // namespace

Inputs as_decoding(const Problem& problem, Inputs inputs) {
  if (problem.kind == AttentionKind::sparse_decode)
    return inputs;
  add_request(inputs.q);
  add_request(inputs.kv_cache);
  // [s_q, 1, topk] to [1, s_q, topk]
  std::swap(inputs.indices.shape[0], inputs.indices.shape[1]);
  std::swap(inputs.indices.strides[0], inputs.indices.strides[1]);
  return inputs;
}

Outputs as_decoding(const Problem& problem, Outputs outputs) {
  if (problem.kind == AttentionKind::sparse_prefill)
    add_request(outputs.out);
  return outputs;
}

IndexLists::IndexLists(const Problem& problem, const Inputs& inputs, std::int64_t request,
                       std::int64_t token)
    : main_(list_of(inputs.kv_cache, problem.kv_format, inputs.indices, inputs.topk_length, request,
                    token, problem.kind == AttentionKind::sparse_decode ? request : token)),
      extra_(list_of(inputs.extra_kv_cache, problem.kv_format, inputs.extra_indices,
                     inputs.extra_topk_length, request, token, request)) {}

IndexLists::List IndexLists::list_of(const TensorView& cache, KvFormat format,
                                     const TensorView& indices, const TensorView& lengths,
                                     std::int64_t request, std::int64_t token,
                                     std::int64_t length_index) {
  if (!indices.given() || indices.shape[2] == 0)
    return {CacheSlots(cache, format), nullptr, 0, 0};
  std::int64_t entries = indices.shape[2];
  if (lengths.given())
    entries = std::clamp<std::int64_t>(static_cast<const std::int32_t*>(lengths.data)[length_index],
                                       0, entries);
  return {CacheSlots(cache, format),
          static_cast<const std::int32_t*>(indices.data) + request * indices.strides[0] +
              token * indices.strides[1],
          indices.strides[2], entries};
}

CachedToken* IndexLists::List::gather(std::int64_t first, std::int64_t end,
                                      CachedToken* tokens) const {
  for (std::int64_t i = std::max<std::int64_t>(first, 0); i < std::min(end, entries); ++i)
    if (const std::int64_t slot = slots[i * stride]; cache.holds(slot))
      *tokens++ = cache.locate(slot);
  return tokens;
}

std::int32_t IndexLists::gather(std::int64_t first, std::int64_t end, CachedToken* tokens) const {
  CachedToken* last = main_.gather(first, end, tokens);
  last = extra_.gather(first - main_.entries, end - main_.entries, last);
  return static_cast<std::int32_t>(last - tokens);
}

}  // namespace flashmla::backends::cpu
