// Memory of the device that a backend computes on.
#pragma once

#include <memory>
#include <string_view>

#include "support/memory.h"

namespace flashmla::support {

// "cpu" or "cuda"; null for others, and for "cuda" in a build without CUDA.
std::unique_ptr<Memory> memory_of(std::string_view backend);

}  // namespace flashmla::support
