// Instances for at most 16 and at most 32 rows of a KV head.
#pragma once

#include "sm90/kernels/dense_decode/launch.h"

namespace flashmla::sm90::dense_decode::few_rows {

Kernel kernel_of(DType type, std::int64_t qk_dim, std::int64_t rows, bool pair);

}  // namespace flashmla::sm90::dense_decode::few_rows
