// Scratch memory of a thread. It is kept between calls and freed with the thread.
#pragma once

#include <cstddef>

namespace flashmla::backends::cpu {

// `count` floats of the calling thread, aligned to scratch_alignment bytes. New memory holds zeros,
// and otherwise the memory holds what its last user left. The next call of this function may move
// it.
float* thread_scratch(std::size_t count);

}  // namespace flashmla::backends::cpu
