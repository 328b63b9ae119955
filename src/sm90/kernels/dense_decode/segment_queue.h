// The queue that tells the roles of a CTA what comes next. The warp that loads the queries walks
// over the CTA's share of the schedule and publishes each segment before it loads the queries of
// the segment.
//
// The key loaders copy the records. The consumers hold them: a record stays until the consumers
// give back the queries of its segment. This is safe because the warp loads the queries of the next
// segment only then, and publishes the segment after that behind them.
#pragma once

#include "sm90/kernels/dense_decode/place.h"
#include "sm90/pipeline/record_queue.h"

namespace flashmla::sm90::dense_decode {

using SegmentQueue = pipeline::RecordQueue<TileSegment>;

}  // namespace flashmla::sm90::dense_decode
