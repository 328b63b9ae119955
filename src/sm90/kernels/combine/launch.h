// The instances of the combine kernels.
#pragma once

#include <cstdint>

#include "flashmla/dtype.h"
#include "schedule/split_kv.h"
#include "sm90/kernels/combine/params.h"

namespace flashmla::sm90::combine {

template <class Output>
struct Kernel {
  void (*function)(Params<Output>);
  std::uint32_t threads;
  std::uint32_t blocks;
  std::uint32_t shared_bytes;  // dynamic; not used, but it limits the number of thread blocks on a
                               // multiprocessor
};

// The largest number of workers of a schedule that the kernel reads, except in batch-invariant
// mode.
std::int32_t worker_limit();

// For a call that is planned so, of `rows` (query tokens × query heads) a request. Where the kernel
// in front leaves no room beside it (`fills_multiprocessor`), those multiprocessors that are done
// first would take all blocks, and the others none: then each takes but a few.
template <class Output>
Kernel<Output> kernel_of(DType type, const schedule::SplitParams& params, std::int64_t rows,
                         std::int64_t multiprocessors, bool fills_multiprocessor);

// Loads the kernel of such calls on the current device.
template <class Output>
void load(DType type, bool batch_invariant);

}  // namespace flashmla::sm90::combine
