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

void validate_lse_form(const Outputs& outputs) {
  if (name_of(outputs.lse_base) == "?")
    reject("lse_base", text(static_cast<int>(outputs.lse_base)),
           text(name_of(LseBase::natural), " or ", name_of(LseBase::two)));
  if (name_of(outputs.empty_lse) == "?")
    reject("empty_lse", text(static_cast<int>(outputs.empty_lse)),
           text(name_of(EmptyLse::plus_infinity), " or ", name_of(EmptyLse::minus_infinity)));
}

namespace {

// The types of partial results and of the merged result.
constexpr std::initializer_list<DType> result_types = {DType::bf16, DType::fp16, DType::fp32};

// `lse` must be [b, h_q, s_q] for an out [b, s_q, h_q, d_v].
TensorCheck check_lse(std::string argument, const TensorView& lse, const TensorView& out) {
  TensorCheck check(std::move(argument), lse);
  check.on(out.device)
      .dtype({DType::fp32})
      .shape({{"b", out.shape[0]}, {"h_q", out.shape[2]}, {"s_q", out.shape[1]}});
  return check;
}

}  // namespace

void validate_merge(std::span<const PartialResult> parts, const TensorView& attn_sink,
                    const Outputs& outputs) {
  const TensorView& out = outputs.out;
  TensorCheck("out", out)
      .dtype(result_types)
      .shape({{"b", any_size}, {"s_q", any_size}, {"h_q", any_size}, {"d_v", any_size}})
      .last_dimension_contiguous()
      .writable();
  check_lse("lse", outputs.lse, out).writable();
  if (outputs.max_logits.given())
    reject("max_logits", describe(outputs.max_logits), "no tensor in merge()");
  validate_lse_form(outputs);
  if (parts.empty())
    reject("parts", "none", "at least one partial result");
  for (std::size_t i = 0; i < parts.size(); ++i) {
    TensorCheck(text("parts[", i, "].out"), parts[i].out)
        .on(out.device)
        .dtype(result_types)
        .shape({{"b", out.shape[0]},
                {"s_q", out.shape[1]},
                {"h_q", out.shape[2]},
                {"d_v", out.shape[3]}})
        .last_dimension_contiguous();
    check_lse(text("parts[", i, "].lse"), parts[i].lse, out);
  }
  validate_sink(attn_sink, out.shape[2], out.device);
}

}  // namespace flashmla::api
