// The tensor maps of dense decoding, with which the copy engine loads queries and keys in boxes.
#pragma once

#include <cstdint>

#include "backends/cuda/row_tiles.h"
#include "flashmla/decode.h"
#include "sm90/kernels/dense_decode/params.h"

namespace flashmla::backends::cuda {

// Whether boxes can load the pages of a cache. Otherwise its rows are gathered one by one.
bool boxes_fit(const TensorView& cache);

// The rows of a box of queries: the whole tile where its rows are heads of one query token, or the
// heads of one query token where a tile has several query tokens. 0 where neither is possible.
std::int32_t query_box_rows(const TensorView& q, const RowTiles& tiles);

// The maps of a launch of `kernel`. `p` says which of them it uses.
sm90::dense_decode::Maps dense_maps(const Inputs& inputs, const sm90::dense_decode::Kernel& kernel,
                                    const sm90::dense_decode::Params& p);

}  // namespace flashmla::backends::cuda
