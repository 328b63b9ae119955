// The CPU backend. Every build has it. It has several threads and walks the same schedule as a GPU.
#pragma once

#include "backends/backend.h"

namespace flashmla::backends::cpu {

const Backend& cpu_backend();

}  // namespace flashmla::backends::cpu
