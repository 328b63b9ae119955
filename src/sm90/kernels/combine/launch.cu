#include "sm90/kernels/combine/launch.h"

#include <algorithm>
#include <type_traits>

#include "gpu/cuda_check.h"
#include "sm90/kernels/combine/combine.h"
#include "sm90/tile/limits.h"

namespace flashmla::sm90::combine {

namespace {

// Shared memory of a multiprocessor. A thread block takes 1 KB more than it asks for.
constexpr std::int64_t shared_memory = tile::max_shared_bytes;
constexpr std::int64_t spread_blocks = 4;

template <class Output>
using Function = void (*)(Params<Output>);

// Sparse attention is in bf16 alone.
template <class Output>
Function<Output> function_of(DType type, bool batch_invariant) {
  if constexpr (std::is_same_v<Output, attend::Output>)
    if (type == DType::fp16)
      return batch_invariant ? combine_pieces<__half, Output> : combine_splits<__half, Output>;
  return batch_invariant ? combine_pieces<__nv_bfloat16, Output>
                         : combine_splits<__nv_bfloat16, Output>;
}

// The largest number of steps of a call. A thread block takes one step at a time.
std::int64_t max_steps(const schedule::SplitParams& params, std::int64_t rows) {
  if (params.batch_invariant)
    return params.requests * piece_steps(rows);
  return (params.workers - 1) * schedule::divide_up(rows, schedule::combine_rows);
}

}  // namespace

std::int32_t worker_limit() {
  return max_workers;
}

template <class Output>
Kernel<Output> kernel_of(DType type, const schedule::SplitParams& params, std::int64_t rows,
                         std::int64_t multiprocessors, bool fills_multiprocessor) {
  const std::int64_t steps = max_steps(params, rows);
  // A call of few requests has about half of these steps, a call of many requests has all of them.
  const bool spread = fills_multiprocessor && 2 * params.requests <= params.workers;
  const std::int64_t resident = type == DType::fp16 ? blocks_of_multiprocessor<__half>
                                                    : blocks_of_multiprocessor<__nv_bfloat16>;
  const std::int64_t each =
      spread ? std::min(spread_blocks, schedule::divide_up(steps, multiprocessors)) : resident;
  return {function_of<Output>(type, params.batch_invariant), threads,
          static_cast<std::uint32_t>(std::min(each * multiprocessors, steps)),
          spread ? static_cast<std::uint32_t>(shared_memory / (each + 1)) : 0};
}

template <class Output>
void load(DType type, bool batch_invariant) {
  gpu::check(cudaFuncSetAttribute(function_of<Output>(type, batch_invariant),
                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared_memory / 2)),
             "cudaFuncSetAttribute");
}

template Kernel<attend::Output> kernel_of(DType, const schedule::SplitParams&, std::int64_t,
                                          std::int64_t, bool);
template Kernel<attend::TokenOutput> kernel_of(DType, const schedule::SplitParams&, std::int64_t,
                                               std::int64_t, bool);
template void load<attend::Output>(DType, bool);
template void load<attend::TokenOutput>(DType, bool);

}  // namespace flashmla::sm90::combine
