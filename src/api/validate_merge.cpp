#include "api/tensor_check.h"
#include "api/validate.h"
#include "core/check.h"

namespace flashmla::api {

void validate_sink(const TensorView& sink, std::int64_t heads, const Device& device) {
  if (sink.given())
    TensorCheck("attn_sink", sink)
        .on(device)
        .dtype({DType::fp32})
        .shape({{"h_q", heads}})
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
