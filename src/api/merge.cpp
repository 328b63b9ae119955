#include "flashmla/merge.h"

#include "api/backend_list.h"
#include "api/validate.h"

namespace flashmla {

void merge(std::span<const PartialResult> parts, const TensorView& attn_sink, const TensorView& out,
           const TensorView& lse, void* stream) {
  api::validate_merge(parts, attn_sink, out, lse);
  api::backend_for(out.device, "out").merge(parts, attn_sink, out, lse, stream);
}

}  // namespace flashmla
