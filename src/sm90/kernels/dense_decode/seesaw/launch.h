// Instances for tiles of 64 rows, in clusters of one, two and four.
#pragma once

#include "sm90/kernels/dense_decode/launch.h"

namespace flashmla::sm90::dense_decode::seesaw {

// NOTE: clusters of four are for pages of whole blocks alone, and not all multiprocessors take one.
Kernel kernel_of(DType type, std::int64_t qk_dim, std::int64_t cluster);

}  // namespace flashmla::sm90::dense_decode::seesaw
