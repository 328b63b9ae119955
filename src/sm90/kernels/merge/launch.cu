#include "sm90/kernels/merge/launch.h"

#include <algorithm>

#include "gpu/launch.h"
#include "sm90/kernels/merge/merge.h"

namespace flashmla::sm90::merge {

namespace {

Tensor tensor_of(const TensorView& view) {
  return {view.data, {view.strides[0], view.strides[1], view.strides[2]}, view.dtype};
}

// [b, h_q, s_q]
Lse lse_of(const TensorView& view) {
  return {static_cast<float*>(view.data), {view.strides[0], view.strides[2], view.strides[1]}};
}

}  // namespace

std::size_t max_parts() {
  return Params::max_parts;
}

void launch(std::span<const PartialResult> parts, const TensorView& attn_sink,
            const Outputs& outputs, void* stream) {
  const TensorView& out = outputs.out;
  Params p{};
  for (std::size_t i = 0; i < parts.size(); ++i)
    p.parts[i] = {tensor_of(parts[i].out), lse_of(parts[i].lse)};
  p.count = static_cast<std::int32_t>(parts.size());
  p.out = tensor_of(out);
  p.lse = lse_of(outputs.lse);
  p.base_two = outputs.lse_base == LseBase::two;
  p.empty_lse = value_of(outputs.empty_lse);
  p.sink = static_cast<const float*>(attn_sink.data);
  p.rows = out.shape[0] * out.shape[1] * out.shape[2];
  p.query_tokens = out.shape[1];
  p.query_heads = out.shape[2];
  p.columns = static_cast<std::int32_t>(out.shape[3]);
  if (p.rows == 0)
    return;
  constexpr std::int64_t max_blocks = 1 << 20;
  const auto blocks = static_cast<std::uint32_t>(std::min(max_blocks, p.rows));
  gpu::launch(merge_rows, {blocks, threads}, stream, p);
}

}  // namespace flashmla::sm90::merge
