// Merging partial results by log-sum-exp (flashmla/merge.h).
#pragma once

#include <span>

#include "flashmla/merge.h"

namespace flashmla::backends::cpu {

void merge_parts(std::span<const PartialResult> parts, const TensorView& attn_sink,
                 const Outputs& outputs);

}  // namespace flashmla::backends::cpu
