// Launching the kernel that combines the partial results of split requests.
#pragma once

#include "gpu/launch.h"
#include "sm90/attend/call.h"
#include "sm90/kernels/combine/launch.h"

namespace flashmla::backends::cuda {

// `call` has the members schedule, output, partials and rows of sm90/attend/call.h.
template <class Call>
auto combine_params(const Call& call) {
  using sm90::ops::FastDivisor;
  const std::int32_t rows = call.rows.kv_heads * call.rows.count;
  const std::int32_t groups = schedule::divide_up(rows, schedule::combine_rows);
  return sm90::combine::Params<decltype(call.output)>{.schedule = call.schedule,
                                                      .output = call.output,
                                                      .partials = call.partials,
                                                      .rows = call.rows,
                                                      .by_rows = FastDivisor::of(call.rows.count),
                                                      .groups = groups,
                                                      .by_groups = FastDivisor::of(groups)};
}

template <class Output>
void launch_combine(const sm90::combine::Kernel<Output>& kernel,
                    const sm90::combine::Params<Output>& params, void* stream) {
  gpu::launch(kernel.function, {kernel.blocks, kernel.threads, kernel.shared_bytes}, stream,
              params);
}

}  // namespace flashmla::backends::cuda
