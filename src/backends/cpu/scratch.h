// Working memory of a thread, kept between calls and freed with the thread.
#pragma once

#include <cstddef>

namespace flashmla::backends::cpu {

// `count` floats of the calling thread, aligned to scratch_alignment. They hold finite numbers at
// first and later what the last user left; the next call may move them.
float* thread_scratch(std::size_t count);

}  // namespace flashmla::backends::cpu
