// Whether work on a CUDA stream is being recorded into a graph.
#pragma once

#include <cstdint>

namespace flashmla::python {

// The number of the capture that is under way on this stream, which is never 0. Returns 0 where no
// capture is under way, where there is no driver, and where the driver refuses the stream. The call
// neither waits nor disturbs the capture.
std::uint64_t capture_id(void* stream);

}  // namespace flashmla::python
