// Instances of the combine kernels.
#pragma once

#include <cstdint>

#include "flashmla/dtype.h"
#include "sm90/kernels/dense_decode/params.h"

namespace flashmla::sm90::combine {

struct Kernel {
  void (*function)(dense_decode::Params);
  std::uint32_t threads;
  std::int64_t blocks_of_multiprocessor;  // that fit at once
};

// The most workers of a schedule that the kernel reads; not in batch-invariant mode.
std::int32_t worker_limit();

Kernel kernel_of(DType type, bool batch_invariant);

// Steps of a call at most, of which a block takes one at a time. `rows` (query tokens × query
// heads) of a request.
std::int64_t most_steps(const schedule::SplitParams& params, std::int64_t rows);

}  // namespace flashmla::sm90::combine
