// Instances of the combine kernels.
#pragma once

#include <cstdint>

#include "flashmla/dtype.h"
#include "sm90/kernels/dense_decode/params.h"

namespace flashmla::sm90::combine {

struct Kernel {
  void (*function)(dense_decode::Params);
  std::uint32_t threads;
};

// The most workers of a schedule that the kernel reads; not in batch-invariant mode.
std::int32_t worker_limit();

// type: bf16 or fp16; pieces: in batch-invariant mode.
Kernel kernel_of(DType type, bool pieces);

}  // namespace flashmla::sm90::combine
