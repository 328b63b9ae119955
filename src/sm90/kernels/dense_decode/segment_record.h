// How the warps that load the queries tell the consumers what comes next: a record in shared
// memory, published together with the queries.
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/place.h"

namespace flashmla::sm90::dense_decode {

using SegmentRecord = TileSegment;  // request −1: there is nothing more to do

inline constexpr std::int32_t no_more_segments = -1;

}  // namespace flashmla::sm90::dense_decode
