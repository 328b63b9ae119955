// Instances for tiles of 16 and of 32 rows, alone and in pairs.
#pragma once

#include "sm90/kernels/dense_decode/launch.h"

namespace flashmla::sm90::dense_decode::few_rows {

Kernel kernel_of(DType type, std::int64_t qk_dim, std::int64_t tile_rows, bool pair);

}  // namespace flashmla::sm90::dense_decode::few_rows
