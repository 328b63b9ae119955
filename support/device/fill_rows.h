// Rows of random numbers made on the GPU, bit for bit those of fill_normal() and encode().
#pragma once

#include <cstdint>

#include "flashmla/dtype.h"

namespace flashmla::support {

// Launches on the default stream of the current device, where `to` and `keys` lie. `type` is bf16
// or fp16.
void launch_fill_rows(std::uint16_t* to, DType type, std::int64_t columns,
                      const std::uint64_t* keys, std::int64_t rows);

}  // namespace flashmla::support
