#include "flashmla/merge.h"

#include "api/backend_list.h"
#include "api/validate.h"

namespace flashmla {

void merge(std::span<const PartialResult> parts, const TensorView& attn_sink,
           const Outputs& outputs, void* stream) {
  api::validate_merge(parts, attn_sink, outputs);
  api::backend_for(outputs.out.device, "out").merge(parts, attn_sink, outputs, stream);
}

}  // namespace flashmla
