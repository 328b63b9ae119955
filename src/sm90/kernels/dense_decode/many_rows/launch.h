// Instances for tiles of 64 rows: alone, in pairs and in fours.
#pragma once

#include "sm90/kernels/dense_decode/launch.h"

namespace flashmla::sm90::dense_decode::many_rows {

Kernel kernel_of(DType type, std::int64_t qk_dim, bool pair);

// Tiles in clusters of four; for pages of whole blocks alone. Not all multiprocessors take one.
Kernel four_of(DType type, std::int64_t qk_dim);

}  // namespace flashmla::sm90::dense_decode::many_rows
