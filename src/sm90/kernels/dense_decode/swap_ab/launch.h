// Instances for tiles of 16 and of 32 rows, in clusters of one and of two.
#pragma once

#include "schedule/tile_choice.h"
#include "sm90/kernels/dense_decode/launch.h"

namespace flashmla::sm90::dense_decode::swap_ab {

Kernel kernel_of(DType type, std::int64_t qk_dim, const schedule::Tile& tile);

}  // namespace flashmla::sm90::dense_decode::swap_ab
