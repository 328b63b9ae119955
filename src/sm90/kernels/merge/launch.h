// Launching the kernel that merges partial results.
#pragma once

#include <span>

#include "flashmla/merge.h"

namespace flashmla::sm90::merge {

// Parts that one launch takes.
std::size_t max_parts();

void launch(std::span<const PartialResult> parts, const TensorView& attn_sink,
            const Outputs& outputs, void* stream);

}  // namespace flashmla::sm90::merge
