// Launching the kernel that merges partial results.
#pragma once

#include <span>

#include "flashmla/merge.h"

namespace flashmla::sm90::merge {

// The largest number of parts of one launch.
std::size_t max_parts();

void launch(std::span<const PartialResult> parts, const TensorView& attn_sink,
            const Outputs& outputs, void* stream);

}  // namespace flashmla::sm90::merge
