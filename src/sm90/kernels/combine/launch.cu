#include "sm90/kernels/combine/launch.h"

#include "sm90/kernels/combine/combine.h"

namespace flashmla::sm90::combine {

std::int32_t worker_limit() {
  return most_workers;
}

Kernel kernel_of(DType type, bool batch_invariant) {
  const auto of = [](void (*function)(dense_decode::Params)) {
    return Kernel{function, threads, blocks_of_multiprocessor};
  };
  if (type == DType::fp16)
    return of(batch_invariant ? combine_pieces<__half> : combine_splits<__half>);
  return of(batch_invariant ? combine_pieces<__nv_bfloat16> : combine_splits<__nv_bfloat16>);
}

std::int64_t most_steps(const schedule::SplitParams& params, std::int64_t rows) {
  if (params.batch_invariant)
    return params.requests * piece_steps(rows);
  return (params.workers - 1) * schedule::divide_up(rows, schedule::combine_rows);
}

}  // namespace flashmla::sm90::combine
