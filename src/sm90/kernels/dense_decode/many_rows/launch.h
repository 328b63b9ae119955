// Instances for tiles of 64 rows, alone and in pairs.
#pragma once

#include "sm90/kernels/dense_decode/launch.h"

namespace flashmla::sm90::dense_decode::many_rows {

Kernel kernel_of(DType type, std::int64_t qk_dim, bool pair);

}  // namespace flashmla::sm90::dense_decode::many_rows
