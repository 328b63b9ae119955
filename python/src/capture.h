// Whether work on a CUDA stream is being recorded into a graph.
#pragma once

#include <cstdint>

namespace flashmla::python {

// The number of the capture under way on this stream, never 0; 0 where none is, where there is no
// driver, and on what it does not answer for. Neither waits nor disturbs the capture.
std::uint64_t capture_id(void* stream);

}  // namespace flashmla::python
