// The CPU backend: always there, multi-threaded, walks the same schedule as the GPU.
#pragma once

#include "backends/backend.h"

namespace flashmla::backends::cpu {

const Backend& cpu_backend();

}  // namespace flashmla::backends::cpu
