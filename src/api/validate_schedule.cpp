#include <cstdint>

#include "api/tensor_check.h"
#include "api/validate.h"
#include "core/check.h"

namespace flashmla::api {

void validate_workspace(const char* argument, const Workspace& workspace, std::size_t bytes) {
  if (workspace.bytes < bytes)
    reject(argument, text(workspace.bytes, " bytes"), text("at least ", bytes, " bytes"));
  if (bytes == 0)
    return;
  if (workspace.data == nullptr)
    reject(argument, "a null pointer", text(bytes, " bytes"));
  if (reinterpret_cast<std::uintptr_t>(workspace.data) % workspace_alignment != 0)
    reject(argument, "a misaligned pointer", text("alignment to ", workspace_alignment, " bytes"));
}

void validate_lengths(const Problem& p, const TensorView& lengths) {
  if (p.kind != AttentionKind::dense_decode) {
    if (lengths.given())
      reject("lengths", describe(lengths), "no tensor in sparse attention");
    return;
  }
  TensorCheck("lengths", lengths).dtype({DType::i32}).shape({{"b", p.batch}}).contiguous();
  if (lengths.device.type != DeviceType::cpu) {
    TensorCheck("lengths", lengths).on(p.device);
    return;
  }
  const auto* values = static_cast<const std::int32_t*>(lengths.data);
  const std::int64_t max_tokens = p.max_pages * p.page_size;
  for (std::int64_t r = 0; r < p.batch; ++r)
    if (values[r] < 0 || values[r] > max_tokens)
      reject("lengths", text(values[r], " tokens for request ", r),
             text("0 … max_pages · page_size = ", max_tokens));
}

}  // namespace flashmla::api
